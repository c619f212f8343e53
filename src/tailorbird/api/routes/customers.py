"""The native CRM in the contract of customers: what a custom connector, of ours or of somebody else, speaks to."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from tailorbird.api.answers import reply
from tailorbird.api.problems import CONTENT_TYPE, Problem, problem
from tailorbird.api.routes.people import Ref
from tailorbird.api.shapes import Body, answers, instant
from tailorbird.engine import Engine
from tailorbird.engine.customers import Asked, Customer, CustomerExists, CustomerPage, Customers

__all__ = ["router"]

_MOST: Final = 20
_PREFIX: Final = "attribute."
_Word = Annotated[str | None, Query(max_length=300)]
_When = Annotated[str | None, Query(max_length=40, description="ms since 1970, or ISO 8601 text")]
_PageNumber = Annotated[int, Query(ge=1, le=1_000_000, description="Which page, from 1")]
_PerPage = Annotated[int, Query(ge=1, le=100, description="How many on a page")]
_Text = Annotated[str | None, Field(max_length=1_000)]
_Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=300)]] | None, Field(max_length=100)]
_Attributes = Annotated[dict[str, Any] | None, Field(max_length=200, description="Anything else; null removes")]
_Consents = Annotated[dict[str, bool] | None, Field(max_length=20, examples=[{"email/marketing": False}])]


class CustomerIn(Body):
    """A customer, or what changes of one. What is left out stays as it is."""

    email: _Text = None
    phone: _Text = None
    first_name: _Text = None
    last_name: _Text = None
    company: _Text = None
    title: _Text = None
    city: _Text = None
    state: _Text = None
    country: _Text = None
    postal_code: _Text = None
    status: _Text = None
    owner: _Text = None
    tags: _Tags = None
    add_tags: _Tags = None
    remove_tags: _Tags = None
    consents: _Consents = None
    attributes: _Attributes = None


class Exists(Problem):
    """A refusal that names whom there is already."""

    existing: str = ""


def router(engine: Engine) -> APIRouter:
    """Return the routes of the contract of customers."""
    routes = APIRouter(prefix="/api/v1", tags=["customers"])
    customers = Customers(engine)
    _reading(routes, customers)
    _writing(routes, customers)
    return routes


def _reading(routes: APIRouter, customers: Customers) -> None:
    @routes.get("/customers", responses=answers(CustomerPage, text="A page of customers"), operation_id="list_customers")
    def list_customers(
        request: Request, status: _Word = None, city: _Word = None, email: _Word = None, phone: _Word = None,
        services: Annotated[list[str] | None, Query(max_length=20, description="Repeatable: all of them are had")] = None,
        not_signed_for_season: Annotated[str | None, Query(max_length=100, description="A season not in `signed_seasons`")] = None,
        last_service_before: _When = None, changed_since: _When = None, page: _PageNumber = 1, per_page: _PerPage = 50,
    ) -> Response:  # fmt: skip
        """Customers whom everything given holds for; any attribute is asked for as `attribute.NAME=value`."""
        named = [
            (name.removeprefix(_PREFIX), value) for name, value in request.query_params.multi_items() if name.startswith(_PREFIX)
        ]
        asked = Asked(
            status=status, city=city, email=email, phone=phone, services=tuple(services or ()), attributes=tuple(named[:_MOST]),
            not_signed_for_season=not_signed_for_season, last_service_before=instant(last_service_before, "last_service_before"),
            changed_since=instant(changed_since, "changed_since"),
        )  # fmt: skip
        return reply(customers.page(asked, page=page, per_page=per_page))

    @routes.get("/customers/search", responses=answers(CustomerPage, text="Those found"), operation_id="search_customers")
    def search_customers(
        q: Annotated[str, Query(min_length=1, max_length=300, description="Words that all occur somewhere")],
        page: _PageNumber = 1, per_page: _PerPage = 50,
    ) -> Response:  # fmt: skip
        """Customers in whose texts all these words occur."""
        return reply(customers.search(q, page=page, per_page=per_page))

    @routes.get("/customers/{ref}", responses=answers(Customer, text="The customer"), operation_id="get_customer")
    def get_customer(ref: Ref) -> Response:
        """One customer by id."""
        return reply(customers.get(ref))


def _writing(routes: APIRouter, customers: Customers) -> None:
    @routes.post(
        "/customers",
        status_code=201,
        responses=answers(Customer, text="The customer made", status=201),
        operation_id="create_customer",
    )
    def create_customer(body: CustomerIn) -> Response:
        """Make a customer; where the address or number is somebody's, 409 names them in `existing`."""
        try:
            return reply(customers.create(body.model_dump(exclude_unset=True)), 201)
        except CustomerExists as error:
            return _exists(error)

    @routes.patch("/customers/{ref}", responses=answers(Customer, text="As it is then"), operation_id="update_customer")
    def update_customer(ref: Ref, body: CustomerIn) -> Response:
        """Change what is given of a customer and nothing else; null removes, `tags` replaces."""
        try:
            return reply(customers.update(ref, body.model_dump(exclude_unset=True)))
        except CustomerExists as error:
            return _exists(error)


def _exists(error: CustomerExists) -> Response:
    told = problem(409, error.code, error.message, hint=error.hint)
    body = Exists(**msgspec.structs.asdict(told), existing=error.existing)
    return Response(msgspec.json.encode(body), 409, media_type=CONTENT_TYPE)
