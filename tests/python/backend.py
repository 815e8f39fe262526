"""Backends that use `cent`, the official client of the server API."""

import inspect

import pytest
from cent import AsyncClient, CentApiResponseError, Client

from hub import API_KEY

KINDS = {"sync": Client, "async": AsyncClient}


class Backend:
    """One of cent's clients; calls of the other kind look the same."""

    def __init__(self, kind, url, key=API_KEY):
        self.client = KINDS[kind](url, key)

    async def __call__(self, request):
        method = getattr(self.client, method_of(request))
        answer = method(request)
        return await answer if inspect.isawaitable(answer) else answer

    async def close(self):
        closed = self.client.close()
        if inspect.isawaitable(closed):
            await closed


def method_of(request):
    """`PresenceStatsRequest` is asked with `presence_stats`."""
    words = type(request).__name__.removesuffix("Request")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in words).lstrip("_")


async def refused(promise):
    """The code with which the API refuses."""
    with pytest.raises(CentApiResponseError) as error:
        await promise
    return error.value.code
