"""Serve the portal: `python app.py` on port 8000, or `uvicorn app:app`."""

from netwarden import logs
from netwarden.portal.app import create_app
from netwarden.portal.server import serve
from netwarden.settings import load_settings

settings = load_settings()
logs.configure(settings.log_level, settings.log_format)

if __name__ == "__main__":
    serve(settings)
else:
    app = create_app(settings)
