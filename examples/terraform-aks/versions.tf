terraform {
  # Variables that refer to other variables in their validation need Terraform 1.9 or OpenTofu 1.9.
  required_version = ">= 1.9"

  required_providers {
    azuread = {
      source  = "hashicorp/azuread"
      version = "3.10.0"
    }
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "5.10.0"
    }
    # Only for the Gateway API, which azurerm_kubernetes_cluster does not have (hashicorp/terraform-provider-azurerm#31710).
    azapi = {
      source  = "azure/azapi"
      version = "2.13.0"
    }
  }
}

provider "azuread" {}

provider "azapi" {}

# Version 5 registers no resource provider by itself. The subscription is that of ARM_SUBSCRIPTION_ID or of the Azure CLI.
provider "azurerm" {
  features {}

  resource_providers_to_register = [
    "Microsoft.Cache",
    "Microsoft.Compute",
    "Microsoft.ContainerService",
    "Microsoft.Kubernetes",
    "Microsoft.KubernetesConfiguration",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.PolicyInsights",
  ]
}
