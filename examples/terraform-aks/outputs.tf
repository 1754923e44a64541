locals {
  redis_endpoint = "rediss://${azurerm_managed_redis.sessions.hostname}:${azurerm_managed_redis.sessions.default_database[0].port}"
}

output "mcp_server" {
  description = "The McpServer to apply without GitOps: tofu output -raw mcp_server | kubectl apply -f -"
  value = yamlencode({
    apiVersion = "behalf.dev/v1alpha1"
    kind       = "McpServer"
    metadata   = { name = var.server_name, namespace = var.namespace }
    spec = {
      publicUrl = var.public_url
      entra = {
        tenantId = data.azuread_client_config.current.tenant_id
        clientId = azuread_application.mcp.client_id
      }
      server = { azureDevOps = { organization = var.organization } }
      route = {
        gateway = {
          parentRefs = [{ name = "public", namespace = "gateways", sectionName = "https" }]
        }
      }
      sessions = {
        store = {
          type = "Redis"
          redis = {
            endpoints = [local.redis_endpoint]
            auth      = { type = "Entra" }
          }
        }
      }
    }
  })
}

output "federation" {
  description = "What the federated credential trusts. status.federation of the McpServer must have the same values."
  value = {
    issuer   = azurerm_kubernetes_cluster.main.oidc_issuer_url
    subject  = local.federation_subject
    audience = local.federation_audience
  }
}

output "kubectl" {
  description = "The command that gives kubectl access to the cluster. kubelogin must be installed."
  value       = "az aks get-credentials --resource-group ${azurerm_resource_group.main.name} --name ${azurerm_kubernetes_cluster.main.name} && kubelogin convert-kubeconfig --login azurecli"
}

output "vscode_mcp_json" {
  description = "The file .vscode/mcp.json of a VS Code user: tofu output -raw vscode_mcp_json > .vscode/mcp.json"
  value = jsonencode({
    servers = {
      (var.server_name) = {
        type = "http"
        url  = "${var.public_url}/mcp"
      }
    }
  })
}

output "claude_code" {
  description = "The command that adds the server to Claude Code."
  value       = "claude mcp add --transport http ${var.server_name} ${var.public_url}/mcp"
}

output "users_group" {
  description = "The object id of the security group whose members may sign in."
  value       = azuread_group.users.object_id
}
