// A device type "npu" whose memory is the host's: what an Ascend plug-in is to Paddle, without the card.
//
// Each device is one window of memory, mapped twice: where Paddle believes the device's memory to be, and where this
// file reads and writes it. With MEDVQA_STANDIN_UNREADABLE=1 the first mapping allows nothing, so code that takes a
// device's address for the host's dies on the spot, as it would on a card that does not share memory.
//
// MEDVQA_STANDIN_DEVICES (2), MEDVQA_STANDIN_MEGABYTES (2048) of memory on each.
#include "paddle/phi/backends/device_base.h"
#include "paddle/phi/backends/device_ext.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <vector>

#include "standin.h"

namespace {

constexpr size_t kAlignment = 512;  // bytes, as on Ascend

size_t setting(const char* name, size_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoul(text, nullptr, 10) : otherwise;
}

class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes), left_(bytes) {
    int file = memfd_create("standin", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, static_cast<off_t>(bytes))) std::abort();
    int allowed = setting("MEDVQA_STANDIN_UNREADABLE", 0) ? PROT_NONE : PROT_READ | PROT_WRITE;
    device_ = static_cast<char*>(mmap(nullptr, bytes, allowed, MAP_SHARED | MAP_NORESERVE, file, 0));
    host_ = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0));
    if (device_ == MAP_FAILED || host_ == MAP_FAILED) std::abort();
    close(file);
    free_[0] = bytes;
  }

  // The first gap that is large enough, or null.
  void* allocate(size_t size) {
    size = rounded(size);
    for (auto [start, gap] : free_) {
      if (gap < size) continue;
      free_.erase(start);
      if (gap > size) free_[start + size] = gap - size;
      left_ -= size;
      return device_ + start;
    }
    return nullptr;
  }

  void release(void* address, size_t size) {
    size = rounded(size);
    left_ += size;
    auto here = free_.emplace(static_cast<char*>(address) - device_, size).first;
    auto next = std::next(here);
    if (next != free_.end() && here->first + here->second == next->first) {
      here->second += next->second;
      free_.erase(next);
    }
    if (here == free_.begin()) return;
    auto before = std::prev(here);
    if (before->first + before->second != here->first) return;
    before->second += here->second;
    free_.erase(here);
  }

  // Where the host may touch what lies at a device's `address`; null if it is none of this device's.
  char* host_view(const void* address) const {
    auto* place = static_cast<const char*>(address);
    return device_ <= place && place < device_ + bytes_ ? host_ + (place - device_) : nullptr;
  }

  size_t bytes() const { return bytes_; }
  size_t left() const { return left_; }

 private:
  static size_t rounded(size_t size) { return (size + kAlignment) / kAlignment * kAlignment; }

  size_t bytes_, left_;
  char *device_, *host_;
  std::map<size_t, size_t> free_;  // start of a gap → its length
};

std::vector<Memory> devices;
std::mutex guard;
thread_local int current = 0;

C_Status nothing() { return C_SUCCESS; }
C_Status nothing_with(const C_Device) { return C_SUCCESS; }

C_Status set_device(const C_Device device) {
  current = device->id;
  return C_SUCCESS;
}
C_Status get_device(const C_Device device) {
  device->id = current;
  return C_SUCCESS;
}
C_Status get_count(size_t* count) {
  *count = devices.size();
  return C_SUCCESS;
}
C_Status get_list(size_t* ids) {
  for (size_t id = 0; id < devices.size(); ++id) ids[id] = id;
  return C_SUCCESS;
}

// All work is done when it is asked for: streams and events have nothing to wait for.
template <typename Handle>
C_Status make_handle(const C_Device, Handle* handle) {
  *handle = reinterpret_cast<Handle>(new char);
  return C_SUCCESS;
}
template <typename Handle>
C_Status drop_handle(const C_Device, Handle handle) {
  delete reinterpret_cast<char*>(handle);
  return C_SUCCESS;
}
template <typename... Handles>
C_Status no_wait(const C_Device, Handles...) {
  return C_SUCCESS;
}
C_Status call_back(const C_Device device, C_Stream stream, C_Callback callback, void* data) {
  C_Status status = C_SUCCESS;
  callback(device, stream, data, &status);
  return status;
}

C_Status allocate(const C_Device device, void** address, size_t size) {
  std::lock_guard<std::mutex> lock(guard);
  *address = devices[device->id].allocate(size);
  return *address ? C_SUCCESS : C_FAILED;
}
C_Status release(const C_Device device, void* address, size_t size) {
  std::lock_guard<std::mutex> lock(guard);
  devices[device->id].release(address, size);
  return C_SUCCESS;
}
C_Status allocate_host(const C_Device, void** address, size_t size) {
  *address = std::malloc(size ? size : 1);
  return *address ? C_SUCCESS : C_FAILED;
}
C_Status release_host(const C_Device, void* address, size_t) {
  std::free(address);
  return C_SUCCESS;
}
C_Status fill_memory(const C_Device, void* address, unsigned char value, size_t size) {
  std::memset(standin_host_view(address), value, size);
  return C_SUCCESS;
}
C_Status memory_left(const C_Device device, size_t* total, size_t* left) {
  *total = devices[device->id].bytes();
  *left = devices[device->id].left();
  return C_SUCCESS;
}
C_Status smallest_chunk(const C_Device, size_t* size) {
  *size = kAlignment;
  return C_SUCCESS;
}
C_Status largest_chunk(const C_Device, size_t* size) {
  *size = 64 << 20;
  return C_SUCCESS;
}

C_Status copy(const C_Device, void* to, const void* from, size_t size) {
  std::memmove(standin_host_view(to), standin_host_view(from), size);
  return C_SUCCESS;
}
C_Status copy_later(const C_Device device, C_Stream, void* to, const void* from, size_t size) {
  return copy(device, to, from, size);
}
C_Status copy_between(const C_Device to_device, const C_Device, void* to, const void* from, size_t size) {
  return copy(to_device, to, from, size);
}
C_Status copy_between_later(const C_Device to_device, const C_Device, C_Stream, void* to, const void* from,
                            size_t size) {
  return copy(to_device, to, from, size);
}

C_Status no(const C_Device, bool* answer) {
  *answer = false;  // its kernels are float32 alone
  return C_SUCCESS;
}
#ifdef STANDIN_TELLS_ITS_MEMORY
C_Status describe(const C_Device device, void* properties) {
  static_cast<phi::DeviceProp*>(properties)->totalGlobalMem = devices[device->id].bytes();
  return C_SUCCESS;
}
#endif
// Fields that Paddle 3.0 does not have yet.
template <typename Interface>
auto add_later_fields(Interface* device, int) -> decltype((void)device->is_float16_supported) {
  device->is_float16_supported = no;
  device->is_bfloat16_supported = no;
}
template <typename Interface>
void add_later_fields(Interface*, long) {}

}  // namespace

// What is no device's address is the host's own.
char* standin_host_view(const void* address) {
  for (const Memory& memory : devices)
    if (char* view = memory.host_view(address)) return view;
  return static_cast<char*>(const_cast<void*>(address));
}

extern "C" __attribute__((visibility("default"))) void InitPlugin(CustomRuntimeParams* params) {
  PADDLE_CUSTOM_RUNTIME_CHECK_VERSION(params);
  size_t count = setting("MEDVQA_STANDIN_DEVICES", 2);
  devices.reserve(count);
  for (size_t id = 0; id < count; ++id) devices.emplace_back(setting("MEDVQA_STANDIN_MEGABYTES", 2048) << 20);

  params->device_type = const_cast<char*>("npu");
  params->sub_device_type = const_cast<char*>("standin");
  C_DeviceInterface* device = params->interface;
  std::memset(reinterpret_cast<char*>(device) + sizeof(device->size), 0, sizeof(*device) - sizeof(device->size));
  device->initialize = device->finalize = nothing;
  device->init_device = device->deinit_device = device->synchronize_device = nothing_with;
  device->set_device = set_device;
  device->get_device = get_device;
  device->get_device_count = get_count;
  device->get_device_list = get_list;
  device->create_stream = make_handle<C_Stream>;
  device->destroy_stream = drop_handle<C_Stream>;
  device->create_event = make_handle<C_Event>;
  device->destroy_event = drop_handle<C_Event>;
  device->query_stream = device->synchronize_stream = no_wait<C_Stream>;
  device->query_event = device->synchronize_event = no_wait<C_Event>;
  device->record_event = device->stream_wait_event = no_wait<C_Stream, C_Event>;
  device->stream_add_callback = call_back;
  device->device_memory_allocate = allocate;
  device->device_memory_deallocate = release;
  device->device_memory_set = fill_memory;
  device->device_memory_stats = memory_left;
  device->device_min_chunk_size = smallest_chunk;
  device->device_max_chunk_size = largest_chunk;
  device->host_memory_allocate = device->unified_memory_allocate = allocate_host;
  device->host_memory_deallocate = device->unified_memory_deallocate = release_host;
  device->memory_copy_h2d = device->memory_copy_d2h = device->memory_copy_d2d = copy;
  device->async_memory_copy_h2d = device->async_memory_copy_d2h = device->async_memory_copy_d2d = copy_later;
  device->memory_copy_p2p = copy_between;
  device->async_memory_copy_p2p = copy_between_later;
  add_later_fields(device, 0);
#ifdef STANDIN_TELLS_ITS_MEMORY
  device->get_device_properties = describe;
#endif
  standin_add_collectives(device);
}
