# The application in Entra, as docs/entra.md makes it with the Azure CLI. It has no secret and no certificate.

data "azuread_client_config" "current" {}

locals {
  azure_devops_id    = "499b84ac-1321-427f-aa17-267ca6975798"
  microsoft_graph_id = "00000003-0000-0000-c000-000000000000"

  # The ids of these delegated permissions are the same in every tenant.
  azure_devops_scopes = {
    user_impersonation = "ee69721e-6c3a-468f-a222-571a0b31e4c1"
  }
  microsoft_graph_scopes = {
    "User.Read"    = "e1fe6dd8-ba31-4d61-89e7-88639da4683d"
    openid         = "37f7f235-527c-4136-accd-4a02d197296e"
    profile        = "14dad69e-099b-42c9-810b-d002981feec1"
    offline_access = "7427e0e9-2fba-42fe-b0c0-848c9e6a8182"
  }

  federation_audience = "api://AzureADTokenExchange"
  federation_subject  = "system:serviceaccount:${var.namespace}:${var.server_name}"
}

resource "azuread_application" "mcp" {
  display_name            = "behalf-${var.namespace}-${var.server_name}"
  sign_in_audience        = "AzureADMyOrg"
  prevent_duplicate_names = true
  owners                  = [data.azuread_client_config.current.object_id]

  api {
    requested_access_token_version = 2

    oauth2_permission_scope {
      # Any id that no other scope of this application has. It must stay the same.
      id                         = uuidv5("url", "https://behalf.dev/access_as_user")
      value                      = "access_as_user"
      type                       = "User"
      enabled                    = true
      admin_consent_display_name = "Use the MCP server"
      admin_consent_description  = "Use the MCP server on behalf of the user"
    }
  }

  required_resource_access {
    resource_app_id = local.azure_devops_id

    dynamic "resource_access" {
      for_each = local.azure_devops_scopes
      content {
        id   = resource_access.value
        type = "Scope"
      }
    }
  }

  required_resource_access {
    resource_app_id = local.microsoft_graph_id

    dynamic "resource_access" {
      for_each = local.microsoft_graph_scopes
      content {
        id   = resource_access.value
        type = "Scope"
      }
    }
  }

  # The platform Web: on another platform Entra takes the application for a public client and refuses its credential.
  web {
    redirect_uris = ["${var.public_url}/callback"]
  }
}

resource "azuread_service_principal" "mcp" {
  client_id                    = azuread_application.mcp.client_id
  app_role_assignment_required = true
  owners                       = [data.azuread_client_config.current.object_id]
}

# Entra trusts the ServiceAccount of the Pods as this application. The issuer is taken over as it is, because its slash at
# the end counts.
resource "azuread_application_federated_identity_credential" "mcp" {
  application_id = azuread_application.mcp.id
  display_name   = "behalf-${var.namespace}-${var.server_name}"
  description    = "Pods of the McpServer ${var.namespace}/${var.server_name} in the cluster ${var.name}"
  audiences      = [local.federation_audience]
  issuer         = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject        = local.federation_subject
}

# Who may sign in. Assigning a group needs Entra ID P1.

resource "azuread_group" "users" {
  display_name            = "behalf-${var.namespace}-${var.server_name}-users"
  description             = "May sign in to the MCP server at ${var.public_url}"
  security_enabled        = true
  prevent_duplicate_names = true
  owners                  = [data.azuread_client_config.current.object_id]
  # Without members in the variable, the group is filled elsewhere.
  members = length(var.members) == 0 ? null : var.members
}

resource "azuread_app_role_assignment" "users" {
  # The default role, because the application has no roles.
  app_role_id         = "00000000-0000-0000-0000-000000000000"
  principal_object_id = azuread_group.users.object_id
  resource_object_id  = azuread_service_principal.mcp.object_id
}

# The consent of an administrator for all users. Without it On-Behalf-Of fails with AADSTS65001.

# A tenant that never used Azure DevOps has no service principal of it, and cannot consent.
resource "azuread_service_principal" "azure_devops" {
  count = var.azure_devops_is_new_to_tenant ? 1 : 0

  client_id    = local.azure_devops_id
  use_existing = true

  lifecycle {
    # Deleting it would end every other use of Azure DevOps in the tenant.
    prevent_destroy = true
  }
}

data "azuread_service_principal" "azure_devops" {
  client_id  = local.azure_devops_id
  depends_on = [azuread_service_principal.azure_devops]
}

data "azuread_service_principal" "microsoft_graph" {
  client_id = local.microsoft_graph_id
}

resource "azuread_service_principal_delegated_permission_grant" "azure_devops" {
  service_principal_object_id          = azuread_service_principal.mcp.object_id
  resource_service_principal_object_id = data.azuread_service_principal.azure_devops.object_id
  claim_values                         = keys(local.azure_devops_scopes)
}

resource "azuread_service_principal_delegated_permission_grant" "microsoft_graph" {
  service_principal_object_id          = azuread_service_principal.mcp.object_id
  resource_service_principal_object_id = data.azuread_service_principal.microsoft_graph.object_id
  claim_values                         = keys(local.microsoft_graph_scopes)
}
