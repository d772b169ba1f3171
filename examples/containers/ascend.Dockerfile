# Ascend 910B with CANN 8.0 and Python 3.10. Not built by anybody yet.
FROM ascendai/cann:8.0.0-910b-ubuntu22.04-py3.10
COPY . /source
RUN pip install --no-cache-dir /source \
    && pip install --no-cache-dir paddle-custom-npu -i https://www.paddlepaddle.org.cn/packages/stable/npu/
ENV FLAGS_npu_storage_format=0 FLAGS_use_stride_kernel=0
WORKDIR /workspace
ENTRYPOINT ["imageclef-vqa"]
