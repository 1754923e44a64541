# What runs in the cluster comes from Git. Terraform could not plan an McpServer before the cluster and its CRD exist.

resource "azurerm_kubernetes_cluster_extension" "flux" {
  count = var.git == null ? 0 : 1

  name           = "flux"
  cluster_id     = azurerm_kubernetes_cluster.main.id
  extension_type = "microsoft.flux"

  # One operation on the cluster at a time, and the Gateway of the folder servers needs the CRDs.
  depends_on = [azapi_update_resource.gateway_api]
}

locals {
  # The files in the folder cluster name these as ${...}, so that Git contains no id of a tenant.
  substitutions = merge(
    {
      NAMESPACE      = var.namespace
      SERVER_NAME    = var.server_name
      PUBLIC_URL     = var.public_url
      PUBLIC_HOST    = trimprefix(var.public_url, "https://")
      TENANT_ID      = data.azuread_client_config.current.tenant_id
      CLIENT_ID      = azuread_application.mcp.client_id
      ORGANIZATION   = var.organization
      REDIS_ENDPOINT = local.redis_endpoint
      # Kustomize drops the quotes around a variable, and a name such as 123 would become a number.
      QUOTE = "\""
    },
    # OPERATOR_REGISTRY, OPERATOR_REPOSITORY, OPERATOR_TAG, and the same for the other two.
    [
      for name, image in coalesce(var.images, {}) : {
        for part, text in regex("^(?P<registry>[^/]+)/(?P<repository>[^:]+):(?P<tag>[^:]+)$", image) :
        upper("${name}_${part}") => text
      }
    ]...
  )
}

resource "azurerm_kubernetes_flux_configuration" "behalf" {
  count = var.git == null ? 0 : 1

  # The GitRepository in the cluster gets this name, and the HelmReleases refer to it.
  name       = "behalf"
  cluster_id = azurerm_kubernetes_cluster.main.id

  # HelmReleases must be in this namespace, too: the extension refuses references to other namespaces.
  namespace = "cluster-config"
  scope     = "cluster"

  git_repository {
    url             = var.git.url
    reference_type  = "branch"
    reference_value = var.git.branch
  }

  kustomizations {
    name                       = "operator"
    path                       = "${var.git.path}/operator"
    garbage_collection_enabled = true
    retry_interval_in_seconds  = 60
    wait                       = true

    post_build {
      substitute = local.substitutions
    }
  }

  kustomizations {
    name                       = "servers"
    path                       = "${var.git.path}/servers"
    depends_on                 = ["operator"]
    garbage_collection_enabled = true
    retry_interval_in_seconds  = 60
    wait                       = true

    post_build {
      substitute = local.substitutions
    }
  }

  depends_on = [azurerm_kubernetes_cluster_extension.flux]
}
