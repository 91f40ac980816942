"""/openapi.json and the page that shows it."""

from importlib.metadata import version

from flask import Blueprint, Response, current_app, jsonify, render_template

from api.openapi import build_document

docs = Blueprint("docs", __name__)


@docs.get("/openapi.json")
def show_document() -> Response:
    return jsonify(build_document(current_app._get_current_object(), version("ttsfarm")))  # type: ignore[attr-defined]  # werkzeug's proxy


@docs.get("/docs")
def show_page() -> str:
    return render_template("docs.html")
