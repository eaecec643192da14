"""`/docs`: one static page from the OpenAPI document, without scripts or a CDN; it says which scope each operation needs."""

from html import escape
from typing import Any

from starlette.responses import HTMLResponse

_STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans SC",sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
h2{font-size:1.05rem;margin:1.6rem 0 .3rem;border-top:1px solid #ddd;padding-top:.8rem}
code{background:#f4f4f4;padding:.1em .3em}.m{font-weight:700;text-transform:uppercase}.s{color:#666}
table{border-collapse:collapse;margin:.4rem 0}td{padding:.1rem .8rem .1rem 0;vertical-align:top}
"""


def page(openapi: dict[str, Any]) -> HTMLResponse:
    info = openapi["info"]
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in openapi.get("paths", {}).items()
        for method, operation in methods.items()
        if isinstance(operation, dict)
    )
    title, about = escape(info["title"]), escape(info.get("description", ""))
    html = (
        f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<h1>{title}</h1><p>{about}</p><p><a href="/openapi.json">/openapi.json</a></p>{operations}</html>'
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    scopes = sorted({scope for requirement in operation.get("security", []) for names in requirement.values() for scope in names})
    rows = "".join(_parameter(p) for p in operation.get("parameters", []))
    return (
        f'<h2><span class="m">{escape(method)}</span> <code>{escape(path)}</code></h2>'
        f"<p><b>{escape(operation.get('summary', ''))}</b> {escape(operation.get('description', ''))}</p>"
        f'<p class="s">scope: {escape(", ".join(scopes)) or "none"}</p>{f"<table>{rows}</table>" if rows else ""}'
    )


def _parameter(parameter: dict[str, Any]) -> str:
    kind = "required" if parameter.get("required") else "optional"
    name, about = escape(parameter["name"]), escape(parameter.get("description", ""))
    return f"<tr><td><code>{name}</code></td><td>{parameter['in']}, {kind}</td><td>{about}</td></tr>"
