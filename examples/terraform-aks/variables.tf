variable "public_url" {
  description = "spec.publicUrl of the McpServer: the address that MCP clients and browsers use. You own its DNS record and certificate."
  type        = string

  validation {
    condition     = can(regex("^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", var.public_url))
    error_message = "public_url must be https://<host> in lower case, without port, path and slash at the end."
  }
}

variable "organization" {
  description = "The Azure DevOps organization, for example contoso in https://dev.azure.com/contoso."
  type        = string

  validation {
    condition     = length(var.organization) <= 50 && can(regex("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", var.organization))
    error_message = "organization must be the name alone, without https://dev.azure.com/."
  }
}

variable "location" {
  description = "The region, for example westeurope."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be the name of a region in lower case without spaces, for example westeurope."
  }
}

variable "name" {
  description = "The name of the cluster, and a part of the other names."
  type        = string
  default     = "behalf"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,28}[a-z0-9]$", var.name)) && !strcontains(var.name, "--")
    error_message = "name must have 3 to 30 lower-case letters, digits and single dashes, a letter first and no dash last."
  }
}

variable "namespace" {
  description = "The namespace of the McpServer."
  type        = string
  default     = "mcp"

  validation {
    condition     = length(var.namespace) <= 63 && can(regex("^[a-z]([a-z0-9-]*[a-z0-9])?$", var.namespace)) && !startswith(var.namespace, "kube-")
    error_message = "namespace must be the name of a Kubernetes namespace that starts with a letter, and not with kube-."
  }
}

variable "server_name" {
  description = "metadata.name of the McpServer. Its ServiceAccount has the same name."
  type        = string
  default     = "azure-devops"

  validation {
    condition     = length(var.server_name) <= 48 && can(regex("^[a-z]([a-z0-9-]*[a-z0-9])?$", var.server_name))
    error_message = "server_name must have at most 48 lower-case letters, digits and dashes, a letter first and no dash last."
  }
}

variable "members" {
  description = "Object ids of the users and groups that may sign in. They become members of a new security group."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.members : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "members must be object ids, as in: az ad user show --id <user> --query id."
  }
}

variable "azure_devops_is_new_to_tenant" {
  description = "True if the tenant has no service principal of Azure DevOps yet: az ad sp show --id 499b84ac-1321-427f-aa17-267ca6975798 fails."
  type        = bool
  default     = false
}

variable "kubernetes_version" {
  description = "The minor version of Kubernetes."
  type        = string
  default     = "1.34"

  validation {
    condition     = can(regex("^1\\.[0-9]+$", var.kubernetes_version)) && try(tonumber(split(".", var.kubernetes_version)[1]) >= 33, false)
    error_message = "kubernetes_version must be a minor version from 1.33 on, for example 1.34. Azure chooses the patch version."
  }
}

variable "node_size" {
  description = "The size of the nodes."
  type        = string
  default     = "Standard_D2s_v5"
}

variable "node_count" {
  description = "The number of nodes."
  type        = number
  default     = 3

  validation {
    condition     = var.node_count >= 2 && var.node_count <= 100 && floor(var.node_count) == var.node_count
    error_message = "node_count must be a whole number from 2 to 100: with one node, an update of the node ends all Pods at once."
  }
}

variable "zones" {
  description = "The availability zones of the nodes. Empty in a region without zones."
  type        = set(string)
  default     = ["1", "2", "3"]

  validation {
    condition     = length(setsubtract(var.zones, ["1", "2", "3"])) == 0
    error_message = "zones must be of 1, 2 and 3."
  }
}

variable "private_cluster" {
  description = "True: the API server has a private address only. Terraform and GitOps still work; kubectl and helm need a way into the network."
  type        = bool
  default     = false
}

variable "container_registry_id" {
  description = "The resource id of an Azure Container Registry with the images of Behalf, which the nodes get the right to pull. Null for another registry."
  type        = string
  default     = null

  validation {
    condition     = var.container_registry_id == null || can(regex("/providers/Microsoft.ContainerRegistry/registries/", var.container_registry_id))
    error_message = "container_registry_id must be a resource id, as in: az acr show --name <registry> --query id."
  }
}

variable "redis_size" {
  description = "The SKU of Azure Managed Redis. A session takes about 16 KiB: the smallest one has 0.5 GB."
  type        = string
  default     = "Balanced_B0"

  validation {
    condition     = can(regex("^(Balanced|MemoryOptimized|ComputeOptimized)_[BMX][0-9]+$", var.redis_size))
    error_message = "redis_size must be a SKU of the tiers Balanced, MemoryOptimized or ComputeOptimized, for example Balanced_B0."
  }
}

variable "git" {
  description = "The repository from which the AKS Flux extension installs the operator and the McpServer: your copy of this repository, and the path of the folder cluster in it. Null: install with Helm and kubectl."
  type = object({
    url    = string
    branch = optional(string, "main")
    path   = optional(string, "./examples/terraform-aks/cluster")
  })
  default = null

  validation {
    condition     = var.git == null || can(regex("^https://", var.git.url))
    error_message = "git.url must start with https://. For a private repository see README.md."
  }
}

variable "images" {
  description = "The images that make images pushed and printed. Needed with git."
  type = object({
    operator   = string
    sidecar    = string
    mcp_server = string
  })
  default = null

  validation {
    condition     = var.git == null || var.images != null
    error_message = "images must be set with git: there is no release yet, so the default images do not exist."
  }

  validation {
    condition     = var.images == null || alltrue([for image in values(coalesce(var.images, {})) : can(regex("^[^/]+/[^:]+:[^:]+$", image))])
    error_message = "images must be <registry>/<repository>:<tag>, for example contoso.azurecr.io/behalf/operator:0a1b2c3."
  }
}

variable "tags" {
  description = "Tags of the Azure resources."
  type        = map(string)
  default     = {}
}
