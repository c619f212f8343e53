"""The Model Context Protocol: the service and the questions behind it as tools for agents."""
