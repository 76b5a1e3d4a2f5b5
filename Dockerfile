# bgci as the image of its own DC/OS Jobs and of a CI system's jobs: docs/image.md.
ARG BASE_IMAGE=python:3.12-slim
ARG BASE_DIGEST

FROM ${BASE_IMAGE}${BASE_DIGEST:+@}${BASE_DIGEST} AS build
ARG BASE_IMAGE
ARG BASE_DIGEST
ARG PIP_INDEX_URL
# A job's command is `exec timeout -k ...`, run by /bin/sh.
RUN refuse() { echo "bgci: $1" >&2; exit 1; }; \
    test -n "$BASE_DIGEST" || refuse "give --build-arg BASE_DIGEST=sha256:..., the digest of $BASE_IMAGE to build on"; \
    timeout -k 1 9 true || refuse "$BASE_IMAGE has no timeout with -k (coreutils)"; \
    command -v openssl >/dev/null || refuse "$BASE_IMAGE has no program openssl (openssl)"; \
    test -s /etc/ssl/certs/ca-certificates.crt || refuse "$BASE_IMAGE has no CA certificates (ca-certificates)"
WORKDIR /src
COPY . .
# The packages of the lock files, verified by their hashes. wheels/ beside this file, if there is one, stands for the
# package index. The virtual environment has no pip.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    if [ -d wheels ]; then set -- --no-index --find-links /src/wheels; fi; \
    locked() { python3 -m pip "$@" --no-cache-dir --require-hashes --only-binary :all:; }; \
    python3 -m venv --without-pip /opt/bgci && \
    locked --python /opt/bgci/bin/python install "$@" --requirement requirements.lock && \
    locked install "$@" --target /build --requirement requirements-build.lock && \
    PYTHONPATH=/build python3 -m pip wheel --no-build-isolation --no-deps --no-index --wheel-dir /wheels . && \
    python3 -m pip --python /opt/bgci/bin/python install --no-cache-dir --no-deps --no-index /wheels/bgci-*.whl

FROM ${BASE_IMAGE}${BASE_DIGEST:+@}${BASE_DIGEST}
# The program haproxy, with which a job checks the live configuration of each load balancer (docs/image.md). A base that
# has it is left as it is.
RUN command -v haproxy >/dev/null || { apt-get update -q && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends haproxy && \
    rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/bgci /opt/bgci
# In a directory that is on every PATH, that of a login shell too.
COPY --from=build /opt/bgci/bin/bgci /usr/local/bin/bgci
# Whichever user it runs as may write where it starts.
RUN mkdir -m 1777 /work && \
    echo bgci:x:10001: >> /etc/group && \
    echo bgci:x:10001:10001::/work:/bin/sh >> /etc/passwd
WORKDIR /work
# The certificates of the system, so that one's own are added as for everything else; --ca-cert and REQUESTS_CA_BUNDLE
# come before it.
ENV HOME=/work SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
ENTRYPOINT ["bgci"]
CMD ["--help"]

ARG BASE_IMAGE
ARG BASE_DIGEST
ARG VERSION=0.1.0
ARG REVISION
ARG CREATED
ARG SOURCE
LABEL org.opencontainers.image.title="bgci" \
      org.opencontainers.image.description="Releases an app on DC/OS or Mesos/Marathon behind marathon-lb with zero downtime" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.base.name="$BASE_IMAGE" \
      org.opencontainers.image.base.digest="$BASE_DIGEST"
