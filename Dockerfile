# About 7 GB, because PyPI's torch carries CUDA; it runs with and without a GPU.
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 ROLLCALL_DATA_DIR=/data

WORKDIR /src
# What changes rarely comes first: this layer of dependencies is built again only when pyproject.toml changes.
COPY pyproject.toml README.md LICENSE ./
COPY app/__init__.py app/
RUN pip install ".[openvino]"
COPY . .
RUN pip install --no-deps --force-reinstall .

RUN useradd --create-home --uid 10001 rollcall && install --directory --owner rollcall --mode 700 /data
WORKDIR /home/rollcall
USER rollcall
# Everything that is worth a backup: the database, and models that were pulled.
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-c", "\
import http.client; \
connection = http.client.HTTPConnection('127.0.0.1', 8000, timeout=4); \
connection.request('GET', '/health/ready'); \
raise SystemExit(connection.getresponse().status != 200)"]

ENTRYPOINT ["rollcall"]
CMD ["serve", "--host", "0.0.0.0"]
