# NVIDIA GPUs with CUDA 12.6. Not built by anybody yet.
FROM nvidia/cuda:12.6.3-cudnn-runtime-ubuntu22.04
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip libgomp1 && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip3 install --no-cache-dir /source && pip3 uninstall -y paddlepaddle \
    && pip3 install --no-cache-dir "paddlepaddle-gpu==3.3.1" -i https://www.paddlepaddle.org.cn/packages/stable/cu126/
WORKDIR /workspace
ENTRYPOINT ["imageclef-vqa"]
