"""The web portal and JSON API.

app.py joins what its folders offer: access (who may ask), uploads (files in, verdicts out), flows (what programs send),
alerts, models, runs (training) and watch (overview, live, data, drift). rendering.py makes pages and errors for all,
reference.py what /docs says of answers.
"""
