"""/ and /farm: the page where a person types text and hears it, and the operator's page."""

from flask import Blueprint, render_template

from api.answers import current_farm

web = Blueprint("web", __name__)


@web.get("/")
def show_page() -> str:
    return render_template("index.html", max_chars=current_farm().settings.max_text_chars)


@web.get("/farm")
def show_farm() -> str:
    return render_template("farm.html")
