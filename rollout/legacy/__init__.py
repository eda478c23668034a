"""Build-id version sets, for servers without worker deployments."""
