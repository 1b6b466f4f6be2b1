"""Django with REST Framework and SimpleJWT on a free port of loopback, for the stories.

Nothing of the libraries is replaced but where they take the time from, so that an expiry need not be waited for. Prints
one line of JSON when it listens; ends when its standard input does.
"""
import base64
import json
import os
import sys
import tempfile
import threading
from datetime import datetime, timedelta, timezone

import django
from django.conf import settings

directory = tempfile.TemporaryDirectory(prefix="stayfresh-django-")

settings.configure(
    SECRET_KEY="known to everybody who reads the stories",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_simplejwt",
        "rest_framework_simplejwt.token_blacklist",
    ],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(directory.name, "db.sqlite3"),
            "OPTIONS": {"timeout": 20},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    # Django's own advice for tests: a slow hash is no part of what is told.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "UNAUTHENTICATED_USER": None,
    },
    SIMPLE_JWT={
        "ACCESS_TOKEN_LIFETIME": timedelta(minutes=10),
        "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
        "ROTATE_REFRESH_TOKENS": True,
        "BLACKLIST_AFTER_ROTATION": True,
    },
)
django.setup()

import jwt.api_jwt
import rest_framework_simplejwt
import rest_framework_simplejwt.tokens as tokens
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.views import (
    TokenBlacklistView,
    TokenObtainPairView,
    TokenRefreshView,
    TokenVerifyView,
)

offset = timedelta()


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + offset


jwt.api_jwt.datetime = Clock
tokens.aware_utcnow = lambda: Clock.now(timezone.utc)


class Echo(APIView):
    """What came, for whoever has a token."""

    def handle(self, request):
        body = request.body
        return Response(
            {
                "sub": str(request.user.pk),
                "method": request.method,
                "body": body.decode(errors="replace"),
                "base64": base64.b64encode(body).decode(),
                "content_type": request.META.get("CONTENT_TYPE") or None,
            }
        )

    get = post = put = patch = delete = handle


def control(request):
    """What the stories have in hand: the time, the rotation, everybody's tokens."""
    global offset
    told = json.loads(request.body)
    if "offset" in told:
        offset = timedelta(milliseconds=told["offset"])
    if "rotate" in told:
        api_settings.ROTATE_REFRESH_TOKENS = told["rotate"]
    if "lifetime" in told:
        tokens.AccessToken.lifetime = timedelta(milliseconds=told["lifetime"])
    if "revoke" in told:
        for token in OutstandingToken.objects.filter(user__username=told["revoke"]):
            BlacklistedToken.objects.get_or_create(token=token)
    if "active" in told:
        User.objects.filter(username="alice").update(is_active=told["active"])
    return JsonResponse({})


urlpatterns = [
    path("token/", TokenObtainPairView.as_view()),
    path("token/refresh/", TokenRefreshView.as_view()),
    path("token/blacklist/", TokenBlacklistView.as_view()),
    path("token/verify/", TokenVerifyView.as_view()),
    path("plain/", Echo.as_view()),
    path("other/", Echo.as_view()),
    path("_control/", control),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


call_command("migrate", verbosity=0)
for name, password in [("alice", "wonderland"), ("bob", "builder")]:
    User.objects.create_user(name, password=password)

server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
server.daemon_threads = True
server.set_app(get_wsgi_application())
threading.Thread(target=server.serve_forever, daemon=True).start()
version = getattr(rest_framework_simplejwt, "__version__", "5")
print(json.dumps({"port": server.server_port, "django": django.get_version(), "simplejwt": version}), flush=True)

sys.stdin.read()
directory.cleanup()
os._exit(0)
