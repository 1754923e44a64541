# The cluster: an issuer that Entra can read, Entra for its users, and the Gateway API.

data "azurerm_client_config" "current" {}

resource "azurerm_resource_group" "main" {
  name     = var.name
  location = var.location
  tags     = var.tags
}

resource "azurerm_kubernetes_cluster" "main" {
  name                      = var.name
  location                  = azurerm_resource_group.main.location
  resource_group_name       = azurerm_resource_group.main.name
  dns_prefix                = var.name
  kubernetes_version        = var.kubernetes_version
  sku_tier                  = "Standard"
  automatic_upgrade_channel = "patch"
  private_cluster_enabled   = var.private_cluster
  tags                      = var.tags

  # Entra reads the keys of the ServiceAccount tokens there. The workload-identity webhook is not needed.
  oidc_issuer_enabled = true

  # The certificate of a local account would be a secret in the state of Terraform.
  local_account_disabled = true

  # Reports what docs/aks-policies.md lists.
  azure_policy_enabled = true

  azure_active_directory_role_based_access_control {
    tenant_id          = data.azurerm_client_config.current.tenant_id
    azure_rbac_enabled = true
  }

  identity {
    type = "SystemAssigned"
  }

  default_node_pool {
    name                        = "system"
    temporary_name_for_rotation = "rotation"
    vm_size                     = var.node_size
    node_count                  = var.node_count
    zones                       = var.zones

    upgrade_settings {
      max_surge = "33%"
    }
  }

  node_provisioning_profile {
    mode = "Manual"
  }

  # A network plugin that enforces NetworkPolicies: Behalf limits its Pods with them.
  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_data_plane  = "cilium"
    network_policy      = "cilium"
  }

  lifecycle {
    # gateway.tf sets it.
    ignore_changes = [web_app_routing]
  }
}

# Whoever applies this may use kubectl. Without local accounts nobody else may.
resource "azurerm_role_assignment" "cluster_administrator" {
  scope                = azurerm_kubernetes_cluster.main.id
  role_definition_name = "Azure Kubernetes Service RBAC Cluster Admin"
  principal_id         = data.azurerm_client_config.current.object_id
}

resource "azurerm_role_assignment" "pull_images" {
  count = var.container_registry_id == null ? 0 : 1

  scope                = var.container_registry_id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_kubernetes_cluster.main.kubelet_identity[0].object_id
}
