# syntax=docker/dockerfile:1
# The hub alone: no shell, no package manager, not root. Its configuration is mounted.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches make a second build short; what is shipped is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package fanfare \
    && install -D --strip target/release/fanfare /out/fanfare

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fanfare" \
      org.opencontainers.image.description="A real-time WebSocket hub that speaks Centrifugo's client protocol" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /src/LICENSE-MIT /src/LICENSE-APACHE /licenses/
COPY --from=build /out/fanfare /usr/local/bin/fanfare
# The user of distroless' nonroot, by number so that orchestrators can see that it is not root.
USER 65532:65532
# Clients and API; the internal port, for those who set it to 9000.
EXPOSE 8000 9000
# Drains: accepted commands are answered, clients are told to come back, then it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/fanfare"]
CMD ["--config", "/etc/fanfare/config.toml"]
