# The session store. It has no access keys: it knows one identity, and that is the application of the Pods, because the
# sidecar authenticates with a token that Entra issues to spec.entra.clientId.

locals {
  # The name is part of a DNS name that all customers of the region share.
  redis_name = "${var.name}-${substr(sha256("${data.azurerm_client_config.current.subscription_id}/${var.name}"), 0, 6)}"
}

resource "azurerm_managed_redis" "sessions" {
  name                = local.redis_name
  location            = azurerm_resource_group.main.location
  resource_group_name = azurerm_resource_group.main.name
  sku_name            = var.redis_size
  tags                = var.tags

  default_database {
    # One address for all: spec.sessions.store.redis.topology is Standalone.
    clustering_policy = "EnterpriseCluster"

    # The default, VolatileLRU, deletes sessions of signed-in users when the memory is full.
    eviction_policy = "NoEviction"

    access_keys_authentication_enabled            = false
    client_protocol                               = "Encrypted"
    persistence_append_only_file_backup_frequency = "1s"
  }
}

resource "azurerm_managed_redis_access_policy_assignment" "application" {
  managed_redis_id = azurerm_managed_redis.sessions.id
  object_id        = azuread_service_principal.mcp.object_id
}
