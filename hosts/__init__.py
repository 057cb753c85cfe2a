"""Hosts give the commands of running code their meaning."""
