#!/usr/bin/env python3
"""MiniStack, whose import of an OpenAPI definition keeps what mock integrations answer, as API Gateway's does. It does not evaluate their
mapping templates: a preflight's body is its template, with the parameters put in."""
import runpy
from ministack.services import apigateway_v1

import_operation = apigateway_v1._import_operation


def with_responses(api_id, resource_id, http_method, operation, *arguments):
    import_operation(api_id, resource_id, http_method, operation, *arguments)
    integration = (operation or {}).get("x-amazon-apigateway-integration", {})
    if integration.get("type", "").lower() != "mock":
        return
    for pattern, response in integration.get("responses", {}).items():
        data = {**response, "selectionPattern": "" if pattern == "default" else pattern}
        status = str(response["statusCode"])
        answer = apigateway_v1._put_integration_response(api_id, resource_id, http_method, status, data)
        assert answer[0] < 300, answer


apigateway_v1._import_operation = with_responses
runpy.run_module("ministack", run_name="__main__", alter_sys=True)
