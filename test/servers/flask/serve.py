"""Flask applications with Flask-JWT-Extended on a free port of loopback, for the stories.

Each is opened by `_control/` and lives under a number of its own, with its own clock, users' tokens and blocklist. Nothing
of the libraries is replaced but where they take the time from, so that an expiry need not be waited for. Prints one line
of JSON when it listens; ends when its standard input does.
"""
import base64
import itertools
import json
import os
import sys
import threading
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

import flask_jwt_extended.tokens
import flask_jwt_extended.view_decorators
import jwt.api_jwt
from flask import Flask, abort, current_app, g, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    decode_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
    set_access_cookies,
    set_refresh_cookies,
    unset_jwt_cookies,
)
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

USERS = {"alice": "wonderland", "bob": "builder"}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + current_app.extensions["stories"].offset


for module in (jwt.api_jwt, flask_jwt_extended.tokens, flask_jwt_extended.view_decorators):
    module.datetime = Clock


class State:
    def __init__(self):
        self.offset = timedelta()
        self.given = []
        self.blocklist = set()


def open_app(
    secret, dialect="default", tokens="headers", rotation="reusable", lifetime=None, implicit=None, config={}
):
    app = Flask(__name__)
    app.config["JWT_SECRET_KEY"] = secret
    app.config["JWT_TOKEN_LOCATION"] = {
        "headers": ["headers"],
        "cookies": ["cookies"],
        "split": ["headers", "cookies"],
    }[tokens]
    if lifetime is not None:
        app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(milliseconds=lifetime)
    app.config.update(config)
    manager = JWTManager(app)
    state = app.extensions["stories"] = State()
    tutorial = dialect == "tutorial"

    @manager.token_in_blocklist_loader
    def is_blocked(header, payload):
        return payload["jti"] in state.blocklist

    if tutorial:
        tell_as_the_tutorial(manager)

    def give(told, access, refresh=None):
        """The answer with tokens, where this application has them."""
        for token in filter(None, (access, refresh)):
            payload = decode_token(token)
            state.given.append((payload["sub"], payload["jti"]))
        body = {"msg": told} if tokens == "cookies" else {"access_token": access}
        if refresh and tokens == "headers":
            body["refresh_token"] = refresh
        response = jsonify(body)
        if tokens == "cookies":
            set_access_cookies(response, access)
        if refresh and tokens != "headers":
            set_refresh_cookies(response, refresh)
        return response

    @app.post("/login")
    def login():
        name = request.json.get("username")
        if name not in USERS or USERS[name] != request.json.get("password"):
            if tutorial:
                return jsonify(code=401, status="Unauthorized", message="Invalid credentials."), 401
            return jsonify(msg="Bad username or password"), 401
        return give("login successful", create_access_token(name, fresh=True), create_refresh_token(name))

    @app.post("/refresh")
    @jwt_required(refresh=True)
    def refresh():
        name = get_jwt_identity()
        if rotation != "reusable":
            state.blocklist.add(get_jwt()["jti"])
        again = create_refresh_token(name) if rotation == "rotating" else None
        return give("refresh successful", create_access_token(name), again)

    if tokens != "headers":

        @app.delete("/logout")
        def logout():
            # As docs/backends.md has it.
            cookies = [request.cookies.get(name) for name in ("access_token_cookie", "refresh_token_cookie")]
            payloads = [decode_token(cookie, allow_expired=True) for cookie in cookies if cookie]
            if not any(payload.get("csrf") == request.headers.get("X-CSRF-TOKEN") for payload in payloads):
                abort(401)
            state.blocklist.update(payload["jti"] for payload in payloads)
            response = jsonify(msg="Tokens revoked")
            unset_jwt_cookies(response)
            return response

    elif tutorial:

        @app.post("/logout")
        @jwt_required()
        def logout():
            state.blocklist.add(get_jwt()["jti"])
            return jsonify(message="Successfully logged out")

    else:

        @app.delete("/logout")
        @jwt_required(verify_type=False)
        def logout():
            state.blocklist.add(get_jwt()["jti"])
            return jsonify(msg=f"{get_jwt()['type'].capitalize()} token successfully revoked")

    @app.get("/whoami")
    @jwt_required()
    def whoami():
        claims = get_jwt()
        return {name: claims.get(name) for name in ("sub", "exp", "iat", "fresh")}

    def echo():
        """What came, for whoever was let in."""
        body = request.get_data()
        return {
            "sub": get_jwt_identity(),
            "method": request.method,
            "body": body.decode(errors="replace"),
            "base64": base64.b64encode(body).decode(),
            "content_type": request.headers.get("Content-Type"),
        }

    for name, rule in [("protected", {}), ("fresh", {"fresh": True}), ("optional", {"optional": True})]:
        app.add_url_rule(f"/{name}", name, jwt_required(**rule)(echo), methods=METHODS)

    if implicit is not None:

        @app.after_request
        def replace(response):
            claims = g.get("_jwt_extended_jwt")
            soon = Clock.now(timezone.utc) + timedelta(milliseconds=implicit)
            # A logout reads its tokens by itself, and so is left alone.
            if claims and soon.timestamp() > claims["exp"]:
                access = create_access_token(claims["sub"])
                state.given.append((claims["sub"], decode_token(access)["jti"]))
                set_access_cookies(response, access)
            return response

    return app


def tell_as_the_tutorial(manager):
    def loader(**members):
        return lambda *_: (jsonify(members), 401)

    manager.expired_token_loader(loader(message="The token has expired.", error="token_expired"))
    manager.invalid_token_loader(loader(message="Signature verification failed.", error="invalid_token"))
    manager.unauthorized_loader(
        loader(description="Request does not contain an access token.", error="authorization_required")
    )
    manager.needs_fresh_token_loader(loader(description="The token is not fresh.", error="fresh_token_required"))
    manager.revoked_token_loader(loader(description="The token has been revoked.", error="token_revoked"))


numbers = itertools.count(1)


def control(told):
    """What the stories have in hand: applications, their time, everybody's tokens."""
    if "open" in told:
        path = f"/{next(numbers)}"
        apps[path] = open_app(**told["open"])
        return {"app": path}
    app = apps[told["app"]]
    state = app.extensions["stories"]
    if "offset" in told:
        state.offset = timedelta(milliseconds=told["offset"])
    if "revoke" in told:
        if "jti" in told["revoke"]:
            state.blocklist.add(told["revoke"]["jti"])
        else:
            state.blocklist.update(jti for sub, jti in state.given if sub == told["revoke"]["sub"])
    if "honours" in told:
        with app.app_context():
            try:
                return {"honoured": decode_token(told["honours"])["jti"] not in state.blocklist}
            except jwt.PyJWTError:
                return {"honoured": False}
    return {}


@Request.application
def controlled(request):
    return Response(json.dumps(control(json.loads(request.get_data()))), content_type="application/json")


apps = {"/_control": controlled}


class Quiet(WSGIRequestHandler):
    def log(self, *args):
        pass


server = make_server("127.0.0.1", 0, DispatcherMiddleware(NotFound(), apps), threaded=True, request_handler=Quiet)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
about = {"flask": "flask", "library": "flask-jwt-extended", "pyjwt": "pyjwt"}
versions = {name: version(package) for name, package in about.items()}
print(json.dumps({"port": server.server_port, **versions}), flush=True)

sys.stdin.read()
os._exit(0)
