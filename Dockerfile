# syntax=docker/dockerfile:1
# The hub alone: no shell, no package manager, not root. Its configuration is mounted.
#
# The same sources make the same binary: toolchain and base are pinned by digest, crates by Cargo.lock,
# and no path or time of the building machine gets in. For the same image give the time of the commit too:
#   docker buildx build --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) \
#     --build-arg REVISION=$(git rev-parse HEAD) --output type=docker,rewrite-timestamp=true -t fanfare .
# To take newer images, put what these print behind the @:
#   docker buildx imagetools inspect rust:1.95-bookworm --format '{{.Manifest.Digest}}'
#   docker buildx imagetools inspect gcr.io/distroless/cc-debian12:nonroot --format '{{.Manifest.Digest}}'

FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
ARG SOURCE_DATE_EPOCH=0
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    CARGO_INCREMENTAL=0 \
    RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=cargo --remap-path-prefix=/src=fanfare"
WORKDIR /src
COPY . .
# The caches make a second build short; what is shipped is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package fanfare \
    && install -D --strip target/release/fanfare /out/fanfare

FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="fanfare" \
      org.opencontainers.image.description="A real-time WebSocket hub that speaks Centrifugo's client protocol" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /src/LICENSE-MIT /src/LICENSE-APACHE /licenses/
COPY --from=build /out/fanfare /usr/local/bin/fanfare
# The user of distroless' nonroot, by number so that orchestrators can see that it is not root.
USER 65532:65532
# Clients and API; the internal port, for those who set it to 9000.
EXPOSE 8000 9000
# Drains: accepted commands are answered, clients are told to come back, then it ends.
STOPSIGNAL SIGTERM
# Reads the same configuration to find the port, and whether it speaks TLS. 1: unwell, 3: not reached.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/fanfare", "healthcheck", "--config", "/etc/fanfare/config.toml"]
ENTRYPOINT ["/usr/local/bin/fanfare"]
CMD ["--config", "/etc/fanfare/config.toml"]
