"""The web portal and JSON API.

app.py (factory) → security.py (who may ask) → pages.py, predict.py, training.py, api.py (routes) → champions.py (which
bundles serve), receiving.py (forms), uploads.py (scored files), runs.py (training runs). rendering.py makes pages and
errors for all, reference.py what /docs says of answers.
"""
