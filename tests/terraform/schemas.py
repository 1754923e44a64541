"""Writes the schemas of the providers that examples/terraform-aks uses, for the provider of main.go.

The registries of Terraform and OpenTofu serve providers, but no schemas. The packages cdktn-provider-* contain the schemas as
classes, generated from the provider of the version that their description names. Their manifest (.jsii) is read here:

    schemas.py EXAMPLE MIRROR PLATFORM   writes MIRROR/<registry>/<namespace>/<name>/<version>/<platform>/schema.json
"""

import importlib.metadata
import io
import json
import pathlib
import re
import sys
import tarfile

# Properties that the generator adds to its classes.
INTERNAL = ("alias", "fqn", "internalValue", "tfResourceType")

PROVIDERS = {"azuread": "hashicorp", "azurerm": "hashicorp", "azapi": "azure"}


def snake(name):
    return re.sub(r"([A-Z])", r"_\1", name).lower()


class Bindings:
    """The classes of one provider."""

    def __init__(self, provider):
        package = importlib.metadata.distribution(f"cdktn-provider-{provider}")
        description = package.read_text("METADATA")
        self.version = re.search(r"provider version (\d+\.\d+\.\d+)", description)[1]
        archive = next(file for file in package.files if file.name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read_binary())) as content:
            manifest = json.load(content.extractfile("package/.jsii"))
        self.name = manifest["name"]
        self.types = manifest["types"]

    def properties(self, name):
        return self.types[f"{self.name}.{name}"].get("properties", [])

    def has(self, name):
        return f"{self.name}.{name}" in self.types

    def local(self, name):
        """The name of a class of this provider without the package, else None."""
        return name.removeprefix(f"{self.name}.") if name.startswith(f"{self.name}.") else None

    def block(self, settings, state):
        """A block whose arguments are the properties of the class `settings`, and its results those of `state`."""
        attributes, blocks = {}, {}
        for member in self.properties(settings):
            if member["name"] in INTERNAL:
                continue
            required = not member.get("optional", False)
            nested, many = self.nested(member["type"])
            if nested is None:
                attributes[snake(member["name"])] = {
                    "type": self.value(member["type"]),
                    "required": required,
                    "optional": not required,
                    "computed": not required,
                }
            else:
                blocks[snake(member["name"])] = {
                    "block": self.block(nested, f"{nested}OutputReference"),
                    "min": int(required),
                    "max": 0 if many else 1,
                }
        if self.has(state):
            inputs = {member["name"].removesuffix("Input") for member in self.properties(settings)}
            for member in self.properties(state):
                name = member["name"]
                if name in inputs or name.endswith("Input") or name in INTERNAL:
                    continue
                attributes[snake(name)] = {"type": self.result(member["type"]), "computed": True}
        return {"attributes": attributes, "blocks": blocks}

    def nested(self, type):
        """The class of a block and whether it may be repeated, or None for an attribute."""
        for option in type.get("union", {}).get("types", [type]):
            many = "collection" in option and option["collection"]["kind"] == "array"
            inner = option["collection"]["elementtype"] if many else option
            name = self.local(inner.get("fqn", ""))
            if name is not None:
                return name, many
        return None, False

    def value(self, type):
        """The type of an argument, as Terraform writes it in JSON."""
        if "union" in type:
            return next(self.value(option) for option in type["union"]["types"] if "fqn" not in option)
        if "collection" in type:
            inner = self.value(type["collection"]["elementtype"])
            if inner == "dynamic":
                return "dynamic"
            return ["map" if type["collection"]["kind"] == "map" else "list", inner]
        return {"string": "string", "number": "number", "boolean": "bool"}.get(type.get("primitive"), "dynamic")

    def result(self, type):
        """The type of a result: that of an argument, or a list of objects."""
        name = self.local(type.get("fqn", ""))
        if name is None:
            return "dynamic" if "fqn" in type else self.value(type)
        item = f"{name.removesuffix('List')}OutputReference"
        if not self.has(item):
            return "dynamic"
        members = {
            snake(member["name"]): self.result(member["type"])
            for member in self.properties(item)
            if member["name"] not in INTERNAL
        }
        return ["list", ["object", members]]

    def resource(self, type, prefix=""):
        """The schema of a resource or, with the prefix `data_`, of a data source."""
        words = (prefix + (type if prefix else type.split("_", 1)[1])).split("_")
        name = "".join(word.capitalize() for word in words)
        module = name[0].lower() + name[1:]
        if not self.has(f"{module}.{name}Config"):
            sys.exit(f"{self.name} has no {type}")
        return self.block(f"{module}.{name}Config", f"{module}.{name}")


def main(example, mirror, platform):
    text = "\n".join(file.read_text() for file in sorted(pathlib.Path(example).glob("*.tf")))
    for provider, namespace in PROVIDERS.items():
        bindings = Bindings(provider)
        used = {
            kind: sorted(set(re.findall(rf'^{kind} "({provider}_\w+)"', text, re.MULTILINE)))
            for kind in ("resource", "data")
        }
        settings = f"provider.{provider.capitalize()}ProviderConfig"
        schema = {
            "provider": bindings.block(settings, ""),
            "resources": {type: bindings.resource(type) for type in used["resource"]},
            "dataSources": {type: bindings.resource(type, "data_") for type in used["data"]},
        }
        folder = pathlib.Path(mirror, "registry.opentofu.org", namespace, provider, bindings.version, platform)
        folder.mkdir(parents=True)
        (folder / "schema.json").write_text(json.dumps(schema, indent=1, sort_keys=True))
        print(f"{namespace}/{provider} {bindings.version}: {', '.join(used['resource'] + used['data']) or 'nothing'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
