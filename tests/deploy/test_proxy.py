"""deploy/nginx.conf before a portal, both real: TLS outside, plain on the loopback address."""

import shutil
import ssl
import subprocess

import httpx
import pytest
from pydantic import SecretStr

from tests.deploy.product import DEPLOY
from tests.fixtures.servers import free_port, serving
from tests.portal.conftest import listening, portal_settings

HOST = "netwarden.example.org"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx (Debian package nginx-light)")
def test_the_portal_is_reached_by_tls_and_its_cookie_stays_within(tmp_path):
    settings = portal_settings(tmp_path, allowed_hosts=[HOST], trusted_proxies=["127.0.0.1"])
    with listening(settings.model_copy(update={"token": SecretStr("open")})) as portal:
        port = free_port()
        with serving(
            ["nginx", "-e", "stderr", "-c", str(proxy(tmp_path, portal.address, port))], port, tmp_path / "log"
        ):
            trusted = ssl.create_default_context(cafile=tmp_path / "netwarden.crt")
            with httpx.Client(verify=trusted, headers={"Host": HOST}) as client:
                at, named = f"https://127.0.0.1:{port}", {"sni_hostname": HOST}
                assert client.get(f"{at}/health", extensions=named).json()["status"] == "ok"
                assert client.get(f"{at}/", extensions=named).status_code == 401
                login = client.post(f"{at}/login", data={"token": "open"}, extensions=named)
                assert login.status_code == 303 and "secure" in login.headers["set-cookie"].lower()


def proxy(folder, upstream: str, port: int):
    """The file that is shipped, with a certificate and ports of this test, and what runs it as an ordinary process."""
    names = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    files = ["-keyout", folder / "netwarden.key", "-out", folder / "netwarden.crt"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *files, *names],
        check=True,
        capture_output=True,
    )
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for old, new in {
        "http://127.0.0.1:8000": upstream,
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 80": f"listen 127.0.0.1:{free_port()}",
        "/etc/nginx/": f"{folder}/",
    }.items():
        assert old in text
        text = text.replace(old, new)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = folder / "nginx.conf"
    head = f"daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\n"
    whole.write_text(f"{head}http {{\naccess_log off;\n{places}{text}}}\n")
    return whole
