"""The chart is rendered by Helm's own library; what comes out follows the schemas of the Kubernetes API, and the hub runs
with it.

There is no cluster here: that Kubernetes does what the manifests ask for is not tested. UPDATE=1 renders
deploy/kubernetes/fanfare.yaml anew.
"""

import os
import re
import tempfile
import unittest
import urllib.request
from pathlib import Path

import helm_python
import kubernetes_validate
import yaml

from hub import PATIENCE, ROOT, Hub, Subscriber, fanfare, free_port, hs256
from programs import VALKEY, Program

CHART = ROOT / "deploy" / "helm" / "fanfare"
FOLDER = ROOT / "deploy" / "kubernetes"

# The oldest that the chart takes, the first with a settled preStop.sleep, the newest whose schemas are here.
VERSIONS = ("1.30", "1.34", "1.37")
# Of an operator, whose schema is not among those of Kubernetes.
FOREIGN = {"ServiceMonitor"}

EXAMPLE = yaml.safe_load((FOLDER / "values.yaml").read_text())
ONE_HUB = {"replicas": 1, "config": {"engine": {"type": "memory"}}}
EVERYTHING = {
    **EXAMPLE,
    "image": {"repository": "registry.example.com/fanfare", "tag": f"0.1.0@sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}, "externalTrafficPolicy": "Local"},
    "shutdown": {"preStopSeconds": 25, "drainSeconds": 120},
    "networkPolicy": {"clientsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "serviceAccount": {"annotations": {"a": "b"}},
    "podAnnotations": {"a": "b"}, "podLabels": {"team": "realtime"}, "nodeSelector": {"pool": "sockets"},
    "tolerations": [{"key": "sockets", "operator": "Exists"}], "priorityClassName": "high",
    "affinity": {"nodeAffinity": {}}, "extraEnv": [{"name": "FANFARE_LOG_LEVEL", "value": "info"}],
    "extraVolumes": [{"name": "data", "emptyDir": {}}], "extraVolumeMounts": [{"name": "data", "mountPath": "/data"}],
}


def render(values, name="fanfare", namespace="realtime"):
    """The texts of a release, by template."""
    found = helm_python.Chart.load(CHART).render(values, name=name, namespace=namespace)
    return {path: text.strip() for path, text in sorted(found.items()) if text.strip()}


def manifests(values=None, **more):
    texts = render(values or {}, **more)
    return [yaml.safe_load(text) for path, text in texts.items() if not path.endswith("NOTES.txt")]


def by_kind(values=None, **more):
    found = {}
    for manifest in manifests(values, **more):
        found.setdefault(manifest["kind"], []).append(manifest)
    return found


def pod_of(values=None):
    return by_kind(values)["Deployment"][0]["spec"]["template"]


def config_of(values=None):
    return yaml.safe_load(by_kind(values)["ConfigMap"][0]["data"]["config.yaml"])


class Chart(unittest.TestCase):
    def test_helm_finds_no_fault(self):
        for values in ({}, ONE_HUB, EXAMPLE, EVERYTHING):
            report = helm_python.lint(CHART, values, strict=True)
            self.assertEqual(report["errors"], [])
            # 1 is for the missing icon.
            self.assertLessEqual({message["severity"] for message in report["messages"]}, {1}, report)

    def test_misspelt_values_are_refused(self):
        for values in ({"replica": 3}, {"autoscaling": {"enable": True}}, {"secrets": {"API_KEY": "a"}},
                       # These are the chart's to say.
                       {"config": {"http_server": {"internal_port": "7000"}}}, {"config": {"shutdown": {"timeout": "1h"}}}):
            with self.assertRaises(helm_python.HelmValuesError, msg=values):
                helm_python.Chart.load(CHART).validate_schema(values)

    def test_every_value_is_in_the_schema(self):
        chart = helm_python.Chart.load(CHART)

        def compare(values, schema, path):
            for key, value in values.items():
                self.assertIn(key, schema["properties"], path)
                if isinstance(value, dict) and not schema["properties"][key].get("additionalProperties", True):
                    compare(value, schema["properties"][key], f"{path}.{key}")
        compare(chart.values, chart.schema, "values")

    def test_several_hubs_need_an_engine_that_they_share(self):
        alone = {"engine": {"type": "memory"}}
        for values in ({"config": alone}, {"config": alone, "replicas": 1, "autoscaling": {"enabled": True}},
                       {"config": {"engine": {"type": "disk"}}}, {"config": {"broker": {"enabled": True, "type": "memory"}}}):
            with self.assertRaisesRegex(helm_python.HelmError, "need an engine that they share", msg=values):
                render(values)
        render({"config": {"engine": {"type": "nats"}}})
        render({"config": {**alone, "broker": {"enabled": True, "type": "redis"}}})
        render(ONE_HUB)

    def test_versions_are_the_package_s(self):
        version = re.search(r'(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
        self.assertEqual(helm_python.Chart.load(CHART).metadata["appVersion"], version)

    def test_rendered_manifests_are_up_to_date(self):
        texts = [text for path, text in render(EXAMPLE).items() if not path.endswith("NOTES.txt")]
        head = "# Rendered from deploy/helm/fanfare with values.yaml:\n#   UPDATE=1 make deploy\n"
        text = head + "".join(f"---\n{text}\n" for text in texts)
        path = FOLDER / "fanfare.yaml"
        if os.environ.get("UPDATE") == "1":
            path.write_text(text)
        self.assertEqual(path.read_text(), text)


class Schemas(unittest.TestCase):
    def validate(self, manifest, version):
        kubernetes_validate.validate(manifest, version, strict=True)

    def test_manifests_follow_them(self):
        for values in ({}, ONE_HUB, EXAMPLE, EVERYTHING):
            for manifest in manifests(values):
                if manifest["kind"] not in FOREIGN:
                    for version in VERSIONS:
                        with self.subTest(kind=manifest["kind"], version=version):
                            self.validate(manifest, version)

    def test_a_mistake_would_be_found(self):
        deployment = by_kind()["Deployment"][0]
        hub = deployment["spec"]["template"]["spec"]["containers"][0]
        hub["lifecycle"]["preStop"]["sleep"] = {"second": 10}
        with self.assertRaises(kubernetes_validate.ValidationError):
            self.validate(deployment, VERSIONS[-1])


class Pods(unittest.TestCase):
    """What has to agree between the manifests."""

    def test_a_drain_is_not_cut_short(self):
        for values in ({}, EXAMPLE, EVERYTHING):
            spec = pod_of(values)["spec"]
            sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            drain = int(config_of(values)["shutdown"]["timeout"].removesuffix("s"))
            self.assertGreater(spec["terminationGracePeriodSeconds"], sleep + drain)

    def test_the_internal_port_is_never_public(self):
        for values in ({}, EXAMPLE, EVERYTHING):
            found = by_kind(values)
            for service in found["Service"]:
                targets = {port["targetPort"] for port in service["spec"]["ports"]}
                is_internal = service["metadata"]["name"].endswith("-internal")
                self.assertEqual(targets, {"internal" if is_internal else "clients"})
                if is_internal:
                    self.assertEqual(service["spec"]["type"], "ClusterIP")
            for ingress in found.get("Ingress", []):
                for rule in ingress["spec"]["rules"]:
                    for path in rule["http"]["paths"]:
                        self.assertEqual(path["path"], "/connection/")
                        self.assertEqual(path["backend"]["service"], {"name": "fanfare", "port": {"name": "clients"}})
            for rule in found["NetworkPolicy"][0]["spec"]["ingress"]:
                if rule["ports"] == [{"port": "internal"}]:
                    self.assertTrue(rule["from"], "no source is every source")

    def test_without_sources_the_internal_port_is_closed(self):
        rules = by_kind({"networkPolicy": {"internalFrom": []}})["NetworkPolicy"][0]["spec"]["ingress"]
        self.assertEqual(rules, [{"ports": [{"port": "clients"}]}])

    def test_selectors_find_the_pods_and_names_the_ports(self):
        found = by_kind(EVERYTHING)
        pod = pod_of(EVERYTHING)
        labels, ports = pod["metadata"]["labels"].items(), {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        selectors = [service["spec"]["selector"] for service in found["Service"]]
        selectors += [found[kind][0]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
        selectors.append(found["NetworkPolicy"][0]["spec"]["podSelector"]["matchLabels"])
        selectors += [spread["labelSelector"]["matchLabels"] for spread in pod["spec"]["topologySpreadConstraints"]]
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels)
        for service in found["Service"]:
            self.assertEqual(service["spec"].get("sessionAffinity", "None"), "None")
            self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, ports)
        scaled = found["HorizontalPodAutoscaler"][0]["spec"]["scaleTargetRef"]
        self.assertEqual((scaled["kind"], scaled["name"]), ("Deployment", found["Deployment"][0]["metadata"]["name"]))
        self.assertNotIn("replicas", found["Deployment"][0]["spec"])
        # The operator's, of which there is no schema here.
        monitor = found["ServiceMonitor"][0]["spec"]
        scraped = [service for service in found["Service"] if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()]
        self.assertEqual([service["metadata"]["name"] for service in scraped], ["fanfare-internal"])
        self.assertEqual([endpoint["port"] for endpoint in monitor["endpoints"]], ["internal"])
        self.assertEqual(scraped[0]["metadata"]["labels"][monitor["jobLabel"]], "fanfare", "the job of rules and dashboard")

    def test_two_releases_are_apart(self):
        names = [{(m["kind"], m["metadata"]["name"]) for m in manifests(name=name)} for name in ("blue", "green")]
        self.assertFalse(names[0] & names[1])
        self.assertEqual({name for _, name in names[0]}, {"blue-fanfare", "blue-fanfare-internal"})

    def test_another_configuration_is_another_pod(self):
        checksum = lambda values: pod_of(values)["metadata"]["annotations"]["checksum/config"]
        self.assertNotEqual(checksum({}), checksum({"config": {"fanfare": {"shards": 4}}}))
        self.assertEqual(checksum({}), checksum({"replicas": 5}))

    def test_it_is_restricted(self):
        """Kubernetes' Pod Security Standard of that name."""
        for values in ({}, EVERYTHING):
            spec = pod_of(values)["spec"]
            self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & spec.keys())
            self.assertTrue(spec["securityContext"]["runAsNonRoot"])
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(spec["automountServiceAccountToken"])
            kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
            self.assertLessEqual(kinds, {"configMap", "secret", "emptyDir"})
            hub = spec["containers"][0]["securityContext"]
            self.assertEqual(hub, {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})

    def test_variables_of_services_are_not_taken_for_keys(self):
        self.assertIs(pod_of()["spec"]["enableServiceLinks"], False)

    def test_its_user_is_the_image_s(self):
        user = re.search(r"(?m)^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text())
        context = pod_of()["spec"]["securityContext"]
        self.assertEqual((context["runAsUser"], context["runAsGroup"]), (int(user[1]), int(user[2])))

    def test_shards_are_the_cores_it_asks_for(self):
        self.assertEqual(str(config_of()["fanfare"]["shards"]), pod_of()["spec"]["containers"][0]["resources"]["requests"]["cpu"])


class Running(unittest.TestCase):
    """The container of the rendered manifests, as a process of this machine."""

    def test_it_starts_and_probes_find_it(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="fanfare-deploy-")))
        kinds = {manifest["kind"]: manifest for manifest in yaml.safe_load_all((FOLDER / "fanfare.yaml").read_text())}
        pod = kinds["Deployment"]["spec"]["template"]["spec"]
        hub = pod["containers"][0]
        engine_port = free_port()
        engine = self.enterContext(Program(VALKEY, "--port", engine_port, "--bind", "127.0.0.1", "--save", "", cwd=folder))
        engine.await_port(engine_port)
        self.mount(folder, hub, pod, kinds["ConfigMap"])
        config = folder / "etc/fanfare/config.yaml"
        config.write_text(config.read_text().replace("redis://valkey:6379", f"redis://127.0.0.1:{engine_port}"))
        port, internal_port = free_port(), free_port()
        here = lambda word: str(folder / word.lstrip("/")) if word.startswith("/") else word
        where = ["--address", "127.0.0.1", "--port", port, "--internal_port", internal_port]
        environment = {variable["name"]: here(variable["value"]) for variable in hub["env"]}
        arguments = [*map(here, hub["args"]), *where]
        with Hub(*arguments, env=environment) as running:
            running.await_health(*arguments)
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = hub[probe]["httpGet"]
                self.assertEqual(asked["port"], "internal")
                with urllib.request.urlopen(f"http://127.0.0.1:{internal_port}{asked['path']}", timeout=PATIENCE) as answer:
                    self.assertEqual(answer.status, 200)
            # The keys are those of the Secret.
            subscriber = Subscriber("chat:1", *arguments, "--token", hs256("secret of token_hmac_secret_key", {"sub": "42"}), "--count", "1")
            subscriber.await_subscribed()
            done = fanfare("pub", *arguments, "chat:1", "1", env={"FANFARE_HTTP_API_KEY": "secret of api_key"})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(subscriber.lines(), ["chat:1 1"])

    def mount(self, folder, hub, pod, config_map):
        """Files as the container sees them, below `folder`."""
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in hub["volumeMounts"]:
            target, volume = folder / mount["mountPath"].lstrip("/"), volumes[mount["name"]]
            target.parent.mkdir(parents=True, exist_ok=True)
            if "configMap" in volume:
                self.assertEqual(volume["configMap"]["name"], config_map["metadata"]["name"])
                target.write_text(config_map["data"][mount["subPath"]])
            else:
                target.mkdir()
                for variable in hub["env"]:
                    key = Path(variable["value"]).name
                    (target / key).write_text(f"secret of {key}\n")


if __name__ == "__main__":
    unittest.main()
