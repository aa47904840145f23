# Images of Ray's pods on GPU nodes, one target an engine: `tensorrt`, `vllm`, `tensorrt-llm`.
#
# BUILT AND RUN BY NOBODY YET. There is neither a GPU nor a registry where this is developed, and the engines that would
# use these libraries are not in the runtime yet: the images hold what they will need, and the runtime serves from them
# as from the CPU image. The CPU image (runtimes/Dockerfile) is built and run by the tests.
#
# Built in the repository's root: docker build -f runtimes/cuda.Dockerfile --target tensorrt .
# All nodes of one Ray cluster have the same Ray and the same Python, down to the patch level: where a pool runs one of
# these, build the head's and the gateway's image on the same Python (runtimes/Dockerfile takes --build-arg BASE=).

ARG CUDA_BASE=nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04
ARG VLLM_BASE=vllm/vllm-openai:v0.24.0
# The vendor's own registry goes before this name: --build-arg TENSORRT_LLM_BASE=HOST/...
ARG TENSORRT_LLM_BASE=nvidia/tensorrt-llm/release:1.2.1

FROM ${CUDA_BASE} AS environment
ARG UV_VERSION=0.13.9
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /uv && /uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /source
COPY pyproject.toml constraints.txt ./
# TensorRT for RTX: the one TensorRT whose libraries lie in the package index.
RUN python3 -m venv --without-pip /opt/internvl \
 && /uv/bin/uv pip install --python /opt/internvl/bin/python --link-mode copy --compile-bytecode \
      --requirement pyproject.toml --extra runtime --constraint constraints.txt \
      tensorrt-rtx-cu13==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116 tensorrt-rtx-cu13-libs==1.7.1.116 \
 && /opt/internvl/bin/python -c "import pathlib, sysconfig; \
      pathlib.Path(sysconfig.get_path('purelib'), 'internvl.pth').write_text('/opt/internvl/code\n')"

FROM ${CUDA_BASE} AS tensorrt
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && (userdel --remove ubuntu || true) && useradd --uid 1000 --create-home --shell /bin/bash ray
COPY --from=environment /opt/internvl /opt/internvl
ENV PATH=/opt/internvl/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /home/ray
COPY engines/internvl_engines /opt/internvl/code/internvl_engines
COPY runtimes/internvl_runtimes /opt/internvl/code/internvl_runtimes
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/internvl/code
USER 1000:1000

# vLLM's own environment, with our Ray and our runtime put into it.
FROM ${VLLM_BASE} AS vllm
ARG PIP_INDEX_URL
RUN (userdel --remove ubuntu || true) && useradd --uid 1000 --create-home --shell /bin/bash ray
WORKDIR /source
COPY pyproject.toml constraints.txt ./
RUN grep -E "^(ray|onnxruntime|tokenizers|safetensors)==" constraints.txt > ours.txt \
 && python3 -m pip install --no-cache-dir "ray[serve]" onnxruntime --constraint ours.txt
ENV PYTHONPATH=/opt/internvl/code \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /home/ray
COPY engines/internvl_engines /opt/internvl/code/internvl_engines
COPY runtimes/internvl_runtimes /opt/internvl/code/internvl_runtimes
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/internvl/code
USER 1000:1000
ENTRYPOINT []

# TensorRT-LLM's pins exclude ours (numpy), so it runs as a process of its own beside our environment and is talked to
# over HTTP. Its base must have the Python that `environment` was made with.
FROM ${TENSORRT_LLM_BASE} AS tensorrt-llm
RUN (userdel --remove ubuntu || true) && useradd --uid 1000 --create-home --shell /bin/bash ray
COPY --from=environment /opt/internvl /opt/internvl
ENV PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /home/ray
COPY engines/internvl_engines /opt/internvl/code/internvl_engines
COPY runtimes/internvl_runtimes /opt/internvl/code/internvl_runtimes
RUN /opt/internvl/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/internvl/code
USER 1000:1000
ENTRYPOINT []
