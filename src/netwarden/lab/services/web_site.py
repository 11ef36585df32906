"""A web site: nginx over static pages and files, with a small application behind it (web_application.py).

Options: `tls`; `pages` (default 30), `assets` (80), `keepalive_s` (20). Static paths: /page-N.html, /assets/N.EXT,
/files/N.bin (N megabytes, 1 to 64), /go/N (redirects to page N).
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from netwarden.lab.play import Part, enter
from netwarden.lab.services import web_application
from netwarden.lab.services.serving import certificate, start

PACKAGES = ("nginx=nginx-light", "openssl")

FILES_MB = (1, 2, 4, 8, 16, 32, 64)
_EXTENSIONS = ("css", "js", "png", "jpg", "woff2")

_CONFIG = """
daemon off; worker_processes 1; user root; pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 4000; }}
http {{
  include /etc/nginx/mime.types; access_log off; sendfile on; absolute_redirect off; client_max_body_size 0;
  keepalive_timeout {keepalive_s}; client_header_timeout 30; client_body_timeout 30; send_timeout 30;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_kind {{ default close; websocket upgrade; }}
  server {{
    listen {address}:{port}{ssl} backlog=511; {certificate}
    root {folder}/pages; index page-1.html;
    rewrite ^/go/(\\d+)$ /page-$1.html redirect;
    location ~ ^/({routes})(/|$) {{
      proxy_pass http://unix:{folder}/app.sock; proxy_http_version 1.1; proxy_request_buffering off;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_kind; proxy_read_timeout 3600;
    }}
  }}
}}
"""


def main() -> None:
    part = enter()
    _lay_pages(part.folder / "pages", random.Random(part.host), part)  # noqa: S311 - the site is the same each time
    config = part.folder / "nginx.conf"
    config.write_text(_config(part), encoding="utf-8")
    asyncio.run(_serve(part, config))


async def _serve(part: Part, config: Path) -> None:
    application = await web_application.start(part.folder / "app.sock", part)
    nginx = start(["nginx", "-p", str(part.folder), "-e", str(part.folder / "error.log"), "-c", str(config)])
    try:
        async with application:
            await application.serve_forever()
    finally:
        nginx.terminate()


def _config(part: Part) -> str:
    ssl, lines = "", ""
    if part.options.get("tls"):
        cert, key = certificate(part)
        ssl, lines = " ssl", f"ssl_certificate {cert}; ssl_certificate_key {key}; ssl_session_cache shared:tls:1m;"
    return _CONFIG.format(
        folder=part.folder,
        address=part.address,
        port=part.port,
        ssl=ssl,
        certificate=lines,
        keepalive_s=part.options.get("keepalive_s", 20),
        routes="|".join(web_application.ROUTES),
    )


def _lay_pages(folder: Path, rng: random.Random, part: Part) -> None:
    """Pages that name their assets as pages do, assets of a few hundred bytes to a few hundred kilobytes, big files."""
    (folder / "assets").mkdir(parents=True)
    (folder / "files").mkdir()
    assets = [f"/assets/{nth}.{rng.choice(_EXTENSIONS)}" for nth in range(part.options.get("assets", 80))]
    for asset in assets:
        _sparse(folder / asset[1:], int(min(rng.lognormvariate(8.6, 1.4), 300_000)) + 120)
    for size_mb in FILES_MB:
        _sparse(folder / "files" / f"{size_mb}.bin", size_mb * 1_000_000)
    pages = int(part.options.get("pages", 30))
    for nth in range(1, pages + 1):
        (folder / f"page-{nth}.html").write_text(_page(rng, assets, pages), encoding="utf-8")


def _page(rng: random.Random, assets: list[str], pages: int) -> str:
    used = rng.sample(assets, min(len(assets), rng.randint(3, 28)))
    links = "".join(f'<a href="/page-{rng.randint(1, pages)}.html">more</a>' for _ in range(8))
    text = "a line of text in a page of the lab " * rng.randint(20, 900)
    return f"<html>{''.join(f'<img src={asset!r}>' for asset in used)}{links}<p>{text}</p></html>"


def _sparse(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(size_bytes)


if __name__ == "__main__":
    main()
