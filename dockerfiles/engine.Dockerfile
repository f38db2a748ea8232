# The image of the engines. Add your libraries in one of your own: FROM ipymesos-engine, RUN pip install ...
ARG BASE=ipymesos-base
FROM ${BASE}

RUN pip install --no-cache-dir numpy
