"""From an application's folder of YAML to a registry of checked entries: `loader.load`."""
