# tofu test (or terraform test): no provider is called, and nothing is made.

mock_provider "azuread" {}

mock_provider "azapi" {}

mock_provider "azurerm" {
  mock_resource "azurerm_kubernetes_cluster" {
    defaults = {
      oidc_issuer_url = "https://westeurope.oic.prod-aks.azure.com/00000000-0000-4000-8000-000000000000/11111111-1111-4111-8111-111111111111/"
    }
  }
}

variables {
  public_url   = "https://mcp.contoso.example"
  organization = "contoso"
  location     = "westeurope"
}

run "entra_trusts_the_service_account_of_the_pods" {
  assert {
    condition     = azuread_application_federated_identity_credential.mcp.issuer == azurerm_kubernetes_cluster.main.oidc_issuer_url && endswith(output.federation.issuer, "/")
    error_message = "the issuer must be the cluster's, with its slash at the end"
  }
  assert {
    condition     = output.federation.subject == "system:serviceaccount:mcp:azure-devops" && azuread_application_federated_identity_credential.mcp.subject == output.federation.subject
    error_message = "the subject must be the ServiceAccount that the operator makes for the McpServer"
  }
  assert {
    condition     = tolist(azuread_application.mcp.web[0].redirect_uris) == tolist(["https://mcp.contoso.example/callback"])
    error_message = "the redirect URI must be that of the McpServer"
  }
}

run "the_application_is_the_one_that_the_sidecar_expects" {
  assert {
    condition     = azuread_application.mcp.api[0].requested_access_token_version == 2
    error_message = "the sidecar accepts tokens of version 2 alone"
  }
  assert {
    condition = [for scope in azuread_application.mcp.api[0].oauth2_permission_scope : scope.value if scope.enabled && scope.type == "User"] == [
      "access_as_user"
    ]
    error_message = "clients of the application ask for the scope access_as_user"
  }
  assert {
    condition = {
      for access in azuread_application.mcp.required_resource_access : access.resource_app_id => {
        for permission in access.resource_access : permission.id => permission.type
      }
      }["499b84ac-1321-427f-aa17-267ca6975798"] == {
      "ee69721e-6c3a-468f-a222-571a0b31e4c1" = "Scope"
    }
    error_message = "the application needs user_impersonation of Azure DevOps, and no other permission there"
  }
  assert {
    condition     = length(azuread_application.mcp.password) == 0
    error_message = "the application must have no secret"
  }
}

run "only_the_group_may_sign_in" {
  assert {
    condition     = azuread_service_principal.mcp.app_role_assignment_required
    error_message = "without a required assignment everybody in the tenant may sign in"
  }
  assert {
    condition     = azuread_group.users.security_enabled && azuread_app_role_assignment.users.principal_object_id == azuread_group.users.object_id
    error_message = "the security group must be assigned"
  }
  assert {
    condition     = azuread_app_role_assignment.users.resource_object_id == azuread_service_principal.mcp.object_id && azuread_app_role_assignment.users.app_role_id == "00000000-0000-0000-0000-000000000000"
    error_message = "the group must be assigned to the application, with the default role"
  }
}

run "an_administrator_has_consented_for_all_users" {
  assert {
    condition     = tolist(azuread_service_principal_delegated_permission_grant.azure_devops.claim_values) == tolist(["user_impersonation"])
    error_message = "without the consent to user_impersonation On-Behalf-Of fails with AADSTS65001"
  }
  assert {
    condition     = azuread_service_principal_delegated_permission_grant.azure_devops.resource_service_principal_object_id == data.azuread_service_principal.azure_devops.object_id && data.azuread_service_principal.azure_devops.client_id == "499b84ac-1321-427f-aa17-267ca6975798"
    error_message = "the consent must be for Azure DevOps"
  }
  assert {
    condition     = contains(azuread_service_principal_delegated_permission_grant.microsoft_graph.claim_values, "offline_access")
    error_message = "without offline_access Entra issues no refresh token"
  }
  assert {
    condition = alltrue([
      for grant in [
        azuread_service_principal_delegated_permission_grant.azure_devops,
        azuread_service_principal_delegated_permission_grant.microsoft_graph,
      ] : grant.service_principal_object_id == azuread_service_principal.mcp.object_id
    ])
    error_message = "the consent must be for the application"
  }
}

run "the_cluster_has_an_issuer_and_the_gateway_api" {
  assert {
    condition     = azurerm_kubernetes_cluster.main.oidc_issuer_enabled
    error_message = "Entra reads the keys of the ServiceAccount tokens at the issuer of the cluster"
  }
  assert {
    condition     = azapi_update_resource.gateway_api.resource_id == azurerm_kubernetes_cluster.main.id && azapi_update_resource.gateway_api.body.properties.ingressProfile.gatewayAPI.installation == "Standard"
    error_message = "AKS must install the CRDs of the Gateway API"
  }
  assert {
    condition     = azapi_update_resource.gateway_api.body.properties.ingressProfile.webAppRouting.gatewayAPIImplementations.appRoutingIstio.mode == "Enabled"
    error_message = "application routing must make the gateways of the class approuting-istio"
  }
  assert {
    condition     = azurerm_kubernetes_cluster.main.network_profile[0].network_policy == "cilium"
    error_message = "the network plugin must enforce NetworkPolicies"
  }
}

run "the_redis_knows_the_application_alone" {
  assert {
    condition     = azurerm_managed_redis_access_policy_assignment.application.object_id == azuread_service_principal.mcp.object_id
    error_message = "the sidecar authenticates as the application of spec.entra"
  }
  assert {
    condition     = !azurerm_managed_redis.sessions.default_database[0].access_keys_authentication_enabled && azurerm_managed_redis.sessions.default_database[0].eviction_policy == "NoEviction"
    error_message = "the Redis must have no access keys and delete no sessions"
  }
}

run "the_outputs_are_files_to_use" {
  assert {
    condition = yamldecode(output.mcp_server).spec.publicUrl == "https://mcp.contoso.example" && startswith(
      yamldecode(output.mcp_server).spec.sessions.store.redis.endpoints[0], "rediss://"
    )
    error_message = "output.mcp_server must be the McpServer"
  }
  assert {
    condition = jsonencode(yamldecode(output.mcp_server).spec.route) == jsonencode(
      yamldecode(replace(file("${path.module}/cluster/servers/mcpserver.yaml"), "/\\$\\{[A-Z_]+\\}/", "x")).spec.route
    )
    error_message = "output.mcp_server must have the route of cluster/servers/mcpserver.yaml"
  }
  assert {
    condition     = jsondecode(output.vscode_mcp_json).servers.azure-devops.url == "https://mcp.contoso.example/mcp"
    error_message = "output.vscode_mcp_json must name the endpoint"
  }
  assert {
    condition     = length(azurerm_kubernetes_flux_configuration.behalf) == 0
    error_message = "without git nothing is installed in the cluster"
  }
}

run "git_gets_every_variable_of_the_manifests" {
  variables {
    git = { url = "https://git.contoso.example/platform/behalf.git" }
    images = {
      operator   = "contoso.azurecr.io/behalf/behalf-operator:0a1b2c3d"
      sidecar    = "contoso.azurecr.io/behalf/behalf-auth-sidecar:1b2c3d4e"
      mcp_server = "contoso.azurecr.io/behalf/behalf-mcp-server:2c3d4e5f"
    }
  }
  assert {
    condition = alltrue([
      for file in fileset(path.module, "cluster/*/*.yaml") : alltrue([
        for name in flatten(regexall("\\$\\{([A-Z_]+)\\}", file(file))) : contains(keys(local.substitutions), name)
      ])
    ])
    error_message = "a file in the folder cluster names a variable that gitops.tf does not set"
  }
  assert {
    condition     = local.substitutions.OPERATOR_REGISTRY == "contoso.azurecr.io" && local.substitutions.MCP_SERVER_REPOSITORY == "behalf/behalf-mcp-server" && local.substitutions.SIDECAR_TAG == "1b2c3d4e"
    error_message = "an image must be split into registry, repository and tag"
  }
  assert {
    condition = sort([for one in azurerm_kubernetes_flux_configuration.behalf[0].kustomizations : one.path]) == tolist([
      "./examples/terraform-aks/cluster/operator", "./examples/terraform-aks/cluster/servers"
    ])
    error_message = "Flux must apply both folders"
  }
}

run "refuses_an_address_with_a_path" {
  command = plan
  variables {
    public_url = "https://mcp.contoso.example/"
  }
  expect_failures = [var.public_url]
}

run "refuses_an_address_without_tls" {
  command = plan
  variables {
    public_url = "http://mcp.contoso.example"
  }
  expect_failures = [var.public_url]
}

run "refuses_the_address_of_an_organization" {
  command = plan
  variables {
    organization = "https://dev.azure.com/contoso"
  }
  expect_failures = [var.organization]
}

run "refuses_a_version_of_kubernetes_that_behalf_does_not_support" {
  command = plan
  variables {
    kubernetes_version = "1.32"
  }
  expect_failures = [var.kubernetes_version]
}

run "refuses_git_without_images" {
  command = plan
  variables {
    git = { url = "https://git.contoso.example/platform/behalf.git" }
  }
  expect_failures = [var.images]
}

run "refuses_a_user_principal_name_as_member" {
  command = plan
  variables {
    members = ["ana@contoso.example"]
  }
  expect_failures = [var.members]
}

run "refuses_a_name_with_a_dash_at_its_end" {
  command = plan
  variables {
    name = "behalf-"
  }
  expect_failures = [var.name]
}

run "refuses_a_namespace_of_kubernetes" {
  command = plan
  variables {
    namespace = "kube-mcp"
  }
  expect_failures = [var.namespace]
}

run "refuses_a_server_name_in_upper_case" {
  command = plan
  variables {
    server_name = "Azure-DevOps"
  }
  expect_failures = [var.server_name]
}

run "refuses_a_location_with_spaces" {
  command = plan
  variables {
    location = "West Europe"
  }
  expect_failures = [var.location]
}

run "refuses_a_single_node" {
  command = plan
  variables {
    node_count = 1
  }
  expect_failures = [var.node_count]
}

run "refuses_a_zone_that_does_not_exist" {
  command = plan
  variables {
    zones = ["4"]
  }
  expect_failures = [var.zones]
}

run "refuses_a_login_server_in_place_of_a_registry_id" {
  command = plan
  variables {
    container_registry_id = "contoso.azurecr.io"
  }
  expect_failures = [var.container_registry_id]
}

run "refuses_a_redis_size_of_another_product" {
  command = plan
  variables {
    redis_size = "Standard_C1"
  }
  expect_failures = [var.redis_size]
}
