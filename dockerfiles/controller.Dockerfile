# The image of ipyparallel's controller: the base has all that it needs.
ARG BASE=ipymesos-base
FROM ${BASE}
