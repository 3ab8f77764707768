#!/usr/bin/env python3
"""MiniStack, as unkind as AWS where it is not. Its import of an OpenAPI definition keeps what mock integrations answer, as API Gateway's
does; it does not evaluate their mapping templates: a preflight's body is its template, with the parameters put in. And CloudFormation
cannot delete a table that DynamoDB protects: a creation that fails with one ends in ROLLBACK_FAILED."""
import runpy
from ministack.services import apigateway_v1, dynamodb
from ministack.services.cloudformation import provisioners

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
tables = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
plain = tables["create"], tables["update"], tables["delete"]


def protection(properties):
    """A parameter is text, which is true whatever it says."""
    return properties | {"DeletionProtectionEnabled": str(properties.get("DeletionProtectionEnabled", False)).lower() == "true"}


def delete_unprotected(name, properties):
    # DeleteTable, DynamoDB API Reference: ValidationException.
    if dynamodb._tables.get(name, {}).get("DeletionProtectionEnabled"):
        raise ValueError(f"Resource cannot be deleted as it is currently protected against deletion: {name}")
    return plain[2](name, properties)


tables["create"] = lambda logical_id, properties, *rest: plain[0](logical_id, protection(properties), *rest)
tables["update"] = lambda name, old, new, *rest, **named: plain[1](name, protection(old), protection(new), *rest, **named)
tables["delete"] = delete_unprotected
runpy.run_module("ministack", run_name="__main__", alter_sys=True)
