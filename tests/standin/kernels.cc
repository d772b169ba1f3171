// The few kernels that Paddle never runs on the CPU in a device's stead, each made of the CPU's own: copy down, compute,
// copy up. All other operators fall back to the CPU by themselves.
#include "paddle/phi/backends/context_pool.h"
#include "paddle/phi/backends/cpu/cpu_context.h"
#include "paddle/phi/backends/custom/custom_context.h"
#include "paddle/phi/backends/device_manager.h"
#include "paddle/phi/core/kernel_registry.h"
#include "paddle/phi/core/tensor_utils.h"
#include "paddle/phi/kernels/elementwise_add_kernel.h"
#include "paddle/phi/kernels/elementwise_multiply_grad_kernel.h"
#include "paddle/phi/kernels/embedding_grad_kernel.h"
#include "paddle/phi/kernels/index_select_grad_kernel.h"

namespace standin {

using phi::CPUContext;
using phi::DenseTensor;

const CPUContext& cpu() {
  return *static_cast<CPUContext*>(phi::DeviceContextPool::Instance().Get(phi::CPUPlace()));
}

// A copy of `x` in the host's memory. Where autograd dropped the values, only the shape is wanted: any values do.
template <typename T, typename Context>
DenseTensor down(const Context& device, const DenseTensor& x) {
  DenseTensor host;
  if (x.initialized()) {
    phi::Copy(device, x, phi::CPUPlace(), true, &host);
  } else {
    host.Resize(x.dims());
    std::memset(cpu().Alloc<T>(&host), 0, host.numel() * sizeof(T));
  }
  return host;
}

template <typename T, typename Context>
void up(const Context& device, const DenseTensor& host, DenseTensor* x) {
  if (!x) return;
  x->Resize(host.dims());
  T* values = device.template Alloc<T>(x);
  if (host.numel())
    phi::DeviceManager::GetDeviceWithPlace(device.GetPlace())
        ->MemoryCopyH2D(values, host.data<T>(), host.numel() * sizeof(T));
}

DenseTensor shaped_like(const DenseTensor* x) {
  DenseTensor host;
  if (x) host.Resize(x->dims());
  return host;
}

template <typename T, typename Context>
void Full(const Context& device, const phi::IntArray& shape, const phi::Scalar& value, phi::DataType, DenseTensor* out) {
  DenseTensor host;
  host.Resize(common::make_ddim(shape.GetData()));
  std::fill_n(cpu().Alloc<T>(&host), host.numel(), value.to<T>());
  up<T>(device, host, out);
}

template <typename T, typename Context>
void Add(const Context& device, const DenseTensor& x, const DenseTensor& y, DenseTensor* out) {
  DenseTensor sum = shaped_like(out);
  phi::AddKernel<T, CPUContext>(cpu(), down<T>(device, x), down<T>(device, y), &sum);
  up<T>(device, sum, out);
}

template <typename T, typename Context>
void MultiplyGrad(const Context& device, const DenseTensor& x, const DenseTensor& y, const DenseTensor& out_grad,
                  int axis, DenseTensor* x_grad, DenseTensor* y_grad) {
  DenseTensor dx = shaped_like(x_grad), dy = shaped_like(y_grad);
  phi::MultiplyGradKernel<T, CPUContext>(cpu(), down<T>(device, x), down<T>(device, y), down<T>(device, out_grad), axis,
                                         x_grad ? &dx : nullptr, y_grad ? &dy : nullptr);
  up<T>(device, dx, x_grad);
  up<T>(device, dy, y_grad);
}

template <typename T, typename Context>
void EmbeddingGrad(const Context& device, const DenseTensor& ids, const DenseTensor& table, const DenseTensor& out_grad,
                   int64_t padding, DenseTensor* table_grad) {
  DenseTensor gradient = shaped_like(table_grad);
  phi::EmbeddingGradKernel<T, CPUContext>(cpu(), down<int64_t>(device, ids), down<T>(device, table),
                                          down<T>(device, out_grad), padding, &gradient);
  up<T>(device, gradient, table_grad);
}

template <typename T, typename Context>
void IndexSelectGrad(const Context& device, const DenseTensor& x, const DenseTensor& index, const DenseTensor& out_grad,
                     int dim, DenseTensor* x_grad) {
  DenseTensor gradient = shaped_like(x_grad);
  phi::IndexSelectGradKernel<T, CPUContext>(cpu(), down<T>(device, x), down<int64_t>(device, index),
                                            down<T>(device, out_grad), dim, &gradient);
  up<T>(device, gradient, x_grad);
}

}  // namespace standin

PD_REGISTER_PLUGIN_KERNEL(full, npu, ALL_LAYOUT, standin::Full, bool, uint8_t, int32_t, int64_t, float) {}
PD_REGISTER_PLUGIN_KERNEL(add, npu, ALL_LAYOUT, standin::Add, int32_t, int64_t, float) {}
PD_REGISTER_PLUGIN_KERNEL(multiply_grad, npu, ALL_LAYOUT, standin::MultiplyGrad, float) {}
PD_REGISTER_PLUGIN_KERNEL(embedding_grad, npu, ALL_LAYOUT, standin::EmbeddingGrad, float) {}
PD_REGISTER_PLUGIN_KERNEL(index_select_grad, npu, ALL_LAYOUT, standin::IndexSelectGrad, float) {}
