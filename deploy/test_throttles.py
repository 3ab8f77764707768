"""The throttles of the transformed stage, held against what the functions reserve."""
import pathlib, unittest
import throttles
from transform_template import translated

TEMPLATE = pathlib.Path(__file__).resolve().parent.parent / "template.yaml"


class Throttles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = translated(TEMPLATE)

    def setUp(self):
        self.resources = self.template["Resources"]
        self.settings = {}
        (stage,) = (one["Properties"] for one in self.resources.values() if one["Type"] == "AWS::ApiGateway::Stage")
        for one in stage["MethodSettings"]:
            path = "/*" if one["ResourcePath"] == "/*" else one["ResourcePath"][1:].replace("~1", "/")
            self.assertNotIn((path, one["HttpMethod"]), self.settings, "said twice")
            self.settings[path, one["HttpMethod"]] = one

    def rate(self, setting, given):
        """What a method takes a second with this RequestsPerSecond."""
        _, _, name = setting["ThrottlingRateLimit"]["Fn::FindInMap"]
        return self.template["Mappings"]["MethodRates"][given][name]

    def methods(self):
        """Each function's methods, as the API has them after the transform."""
        found = {}
        (api,) = (one["Properties"] for one in self.resources.values() if one["Type"] == "AWS::ApiGateway::RestApi")
        for path, methods in api["Body"]["paths"].items():
            for method, one in methods.items():
                for name in self.resources:
                    if f"${{{name}.Alias}}" in str(one) or f"${{{name}.Arn}}" in str(one) or f"${{{name}Aliaslive}}" in str(one):
                        found.setdefault(name, []).append((path, method.upper()))
        return found

    def reserved(self, name):
        return self.resources[name]["Properties"]["ReservedConcurrentExecutions"]["Fn::If"][1]

    def test_a_function_gets_no_more_than_its_environments_can_answer(self):
        functions = self.methods()
        self.assertGreaterEqual(len(functions), 26)
        allowed = [str(one) for one in self.template["Parameters"]["RequestsPerSecond"]["AllowedValues"]]
        self.assertEqual(sorted(allowed), sorted(self.template["Mappings"]["MethodRates"]))
        for name, methods in functions.items():
            self.assertLessEqual(set(methods), set(self.settings), f"{name}: `just throttles` writes its throttle")
            settings = [self.settings[one] for one in methods]
            self.assertLessEqual(sum(one["ThrottlingBurstLimit"] for one in settings), self.reserved(name), name)
            for given in allowed:
                rates = [self.rate(one, given) for one in settings]
                self.assertLessEqual(sum(rates), 10 * self.reserved(name), f"{name} at {given}")
                self.assertLessEqual(max(rates), int(given), f"{name} at {given}")
                self.assertGreaterEqual(min(rates), 1, name)

    def test_nothing_else_is_throttled_and_all_else_is(self):
        self.assertEqual(set(self.settings) - {("/*", "*")}, {one for methods in self.methods().values() for one in methods})
        self.assertEqual(self.settings["/*", "*"]["ThrottlingRateLimit"], {"Ref": "RequestsPerSecond"})
        self.assertEqual(self.template["Parameters"]["RequestsPerSecond"]["Default"], 100)

    def test_passwords_are_guessed_slowly(self):
        for path, most in (("/auth/login", 50), ("/auth/register", 10)):
            self.assertLessEqual(self.rate(self.settings[path, "POST"], "1000"), most)

    def test_who_waits_leaves_environments(self):
        self.assertLessEqual(self.rate(self.settings["/analyze", "POST"], "1000") * throttles.BUSY_SECONDS["analyze"],
                             self.reserved("AnalyzeFunction"))

    def test_more_than_that_is_429_with_retry_after(self):
        (api,) = (one["Properties"] for one in self.resources.values() if one["Type"] == "AWS::ApiGateway::RestApi")
        throttled = api["Body"]["x-amazon-apigateway-gateway-responses"]["THROTTLED"]
        self.assertEqual(int(throttled["statusCode"]), 429)
        self.assertIn("gatewayresponse.header.Retry-After", throttled["responseParameters"])


if __name__ == "__main__":
    unittest.main()
