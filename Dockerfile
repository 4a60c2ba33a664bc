# The image of a controller: docs/howto/service.md. Build it with `docker build --tag dagengine .`
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/dagengine
RUN /opt/dagengine/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.12-slim
COPY --from=build /opt/dagengine /opt/dagengine
# The user owns nothing but its state. A fixed uid, so that files of volumes can be prepared for it.
RUN useradd --system --uid 10001 --home-dir /var/lib/dagengine --no-create-home dagengine
RUN install -d -o 10001 -g 10001 -m 700 /var/lib/dagengine
RUN install -d -o 10001 -g 10001 -m 755 /run/dagengine
RUN install -d -m 755 /etc/dagengine
RUN install -m 644 /opt/dagengine/share/doc/dagengine/configs/service.yaml /etc/dagengine/engine.yaml
ENV PATH=/opt/dagengine/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
VOLUME /var/lib/dagengine
EXPOSE 2886
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["python", "/opt/dagengine/share/doc/dagengine/configs/healthcheck.py", "/run/dagengine/dagengine.sock"]
ENTRYPOINT ["dagengine"]
CMD ["serve", "-c", "/etc/dagengine/engine.yaml"]
