# The CRDs of the Gateway API, kept by AKS, and application routing, which makes gateways of the class approuting-istio.
#
# azurerm has no argument for either. If a later change of the cluster by azurerm switches them off, the next apply switches
# them on again.
resource "azapi_update_resource" "gateway_api" {
  type        = "Microsoft.ContainerService/managedClusters@2026-03-01"
  resource_id = azurerm_kubernetes_cluster.main.id

  body = {
    properties = {
      ingressProfile = {
        gatewayAPI = {
          installation = "Standard"
        }
        webAppRouting = {
          gatewayAPIImplementations = {
            appRoutingIstio = {
              mode = "Enabled"
            }
          }
        }
      }
    }
  }
}
