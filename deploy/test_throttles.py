"""The throttles of the transformed stage, held against what the functions reserve."""
import pathlib, unittest
import throttles
from samtranslator.yaml_helper import yaml_parse
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

    def largest(self):
        return max(self.template["Mappings"]["MethodRates"], key=int)

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

    def test_each_method_takes_several_calls_at_once(self):
        for method, one in self.settings.items():
            if method != ("/*", "*"):
                self.assertGreaterEqual(one["ThrottlingBurstLimit"], 3 if method[1] == "HEAD" else 5, method)

    def test_what_reserves_too_few_for_its_methods_is_refused(self):
        methods = [("GET", "/docs"), ("HEAD", "/docs"), ("GET", "/openapi.json"), ("HEAD", "/openapi.json")]
        self.assertEqual(throttles.lacking("docs", 15, methods), "docs reserves 15, and 16 are the least for its methods")
        self.assertIsNone(throttles.lacking("docs", 16, methods))
        # Each call of it keeps an environment for two seconds.
        waits = [("POST", "/analyze")]
        self.assertEqual(throttles.lacking("analyze", 8, waits), "analyze reserves 8, and 10 are the least for its methods")
        self.assertIsNone(throttles.lacking("a worker", 2, []))

    def test_nothing_else_is_throttled_and_all_else_is(self):
        self.assertEqual(set(self.settings) - {("/*", "*")}, {one for methods in self.methods().values() for one in methods})
        self.assertEqual(self.settings["/*", "*"]["ThrottlingRateLimit"], {"Ref": "RequestsPerSecond"})
        self.assertEqual(self.template["Parameters"]["RequestsPerSecond"]["Default"], 100)

    def test_passwords_are_guessed_slowly(self):
        for path, most in (("/auth/login", 50), ("/auth/register", 10)):
            self.assertLessEqual(self.rate(self.settings[path, "POST"], self.largest()), most)

    def test_who_waits_leaves_environments(self):
        self.assertLessEqual(self.rate(self.settings["/analyze", "POST"], self.largest()) * throttles.BUSY_SECONDS["analyze"],
                             self.reserved("AnalyzeFunction"))

    def test_the_largest_of_all_holds_no_method_back(self):
        """Else more environments would answer no more requests."""
        for key in set(self.settings) - {("/*", "*")}:
            own = int(self.settings[key]["ThrottlingRateLimit"]["Fn::FindInMap"][2].removeprefix("UpTo"))
            self.assertEqual(self.rate(self.settings[key], self.largest()), own, key)

    def test_the_page_says_what_a_hot_tenant_gets(self):
        self.assertIn(throttles.hot_tenant(yaml_parse(TEMPLATE.read_text())), throttles.PAGE.read_text())

    def test_more_than_that_is_429_with_retry_after(self):
        (api,) = (one["Properties"] for one in self.resources.values() if one["Type"] == "AWS::ApiGateway::RestApi")
        throttled = api["Body"]["x-amazon-apigateway-gateway-responses"]["THROTTLED"]
        self.assertEqual(int(throttled["statusCode"]), 429)
        self.assertIn("gatewayresponse.header.Retry-After", throttled["responseParameters"])


if __name__ == "__main__":
    unittest.main()
