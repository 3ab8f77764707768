#!/usr/bin/env python3
"""MiniStack, as unkind as AWS where it is not. Its import of an OpenAPI definition keeps what mock integrations answer, as API Gateway's
does; it does not evaluate their mapping templates: a preflight's body is its template, with the parameters put in. It keeps the definition's
gateway responses, and where there is no method it takes an Authorization header for a broken signature of AWS's. It gives a function's
WWW-Authenticate the name that API Gateway gives it. CloudFormation cannot delete a table that DynamoDB protects: a creation that fails
with one ends in ROLLBACK_FAILED. And what a template reserves of a function is reserved, where the account has it: beyond it, calls are
throttled."""
import runpy
from ministack.services import apigateway_v1, dynamodb, lambda_svc
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


import_api, gateway_error = apigateway_v1._import_rest_api, apigateway_v1._gateway_error_response


def with_gateway_responses(definition, *arguments):
    api_id = import_api(definition, *arguments)
    for kind, response in definition.get("x-amazon-apigateway-gateway-responses", {}).items():
        answer = apigateway_v1._put_gateway_response(api_id, kind, response)
        assert answer[0] < 300, answer
    return api_id


def as_a_signature(error, request):
    # As local/src/template/responses.rs has it.
    is_missing = error.response_type == "MISSING_AUTHENTICATION_TOKEN"
    if is_missing and any(name.lower() == "authorization" for name in request["headers"]):
        error = apigateway_v1._gw_error("INVALID_SIGNATURE", "Authorization header requires 'Credential' parameter.")
    return gateway_error(error, request)


invoke_function = apigateway_v1._invoke_lambda_proxy_v1


async def remapped(*arguments, **named):
    # "Amazon API Gateway important notes", API Gateway Developer Guide.
    answer = await invoke_function(*arguments, **named)
    if not isinstance(answer, tuple):
        return answer  # one of its own
    status, headers, body = answer
    name_of = lambda name: "x-amzn-Remapped-WWW-Authenticate" if name.lower() == "www-authenticate" else name
    return status, {name_of(name): value for name, value in headers.items()}, body


apigateway_v1._import_operation = with_responses
apigateway_v1._import_rest_api = with_gateway_responses
apigateway_v1._gateway_error_response = as_a_signature
apigateway_v1._invoke_lambda_proxy_v1 = remapped
tables, functions = (provisioners._RESOURCE_HANDLERS[f"AWS::{one}"] for one in ("DynamoDB::Table", "Lambda::Function"))
plain = tables["create"], tables["update"], tables["delete"]
plain_function = functions["create"], functions["update"]


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


# Of all of a function's versions together; MiniStack looks for it with the version that is called, which has none.
lambda_svc._reserved_concurrency = lambda _, config: lambda_svc._functions.get(config["FunctionName"], {}).get("concurrency")


def reserving(name, properties, made):
    """What `made` makes of a function, with what its template reserves of it, or nothing; refused as Lambda refuses it."""
    reserved = None if (text := properties.get("ReservedConcurrentExecutions")) is None else int(text)
    others = sum(lambda_svc._functions[one].get("concurrency") or 0 for one in lambda_svc._functions if one != name)
    # "Configuring reserved concurrency for a function", Lambda Developer Guide: 100 stay for functions that reserve none.
    if reserved is not None and lambda_svc._ACCOUNT_CONCURRENCY_CAP - others - reserved < 100:
        raise ValueError("Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
                         "minimum value of [100].")
    made = made()
    lambda_svc._functions[made[0]]["concurrency"] = reserved
    return made


functions["create"] = lambda logical_id, properties, *rest: reserving(None, properties, lambda: plain_function[0](logical_id, properties, *rest))
functions["update"] = lambda name, old, new, *rest, **named: reserving(name, new, lambda: plain_function[1](name, old, new, *rest, **named))
runpy.run_module("ministack", run_name="__main__", alter_sys=True)
