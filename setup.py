"""Build script kept for tools that ask for one; every setting stands in pyproject.toml."""

from setuptools import setup

setup()
