# Python, ipyparallel and the executor: what the controller's and the engines' images share.
# Built by scripts/images, whose build context holds the wheels.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# A venv, as some distributions keep pip out of their own Python (PEP 668); libraries that are in BASE stay visible.
# It comes first on PATH: `python3` and `pip` mean it, here and in images that start FROM this one.
ENV PATH=/opt/ipymesos/bin:$PATH
# In a layer of its own, as it takes long and seldom changes: what the executor needs from the package index.
COPY http_parser-*.whl /tmp/
RUN python3 -m venv --system-site-packages /opt/ipymesos \
 && pip install --no-cache-dir /tmp/http_parser-*.whl "pymesos>=0.3.15" "ipyparallel>=9"
COPY ipymesos_executor-*.whl /tmp/
RUN pip install --no-cache-dir /tmp/http_parser-*.whl /tmp/ipymesos_executor-*.whl && rm /tmp/*.whl
