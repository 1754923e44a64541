// A provider that has a schema and does nothing: it reads the schema from the file schema.json beside the program. With it
// OpenTofu checks a configuration where the provider itself cannot be had. schemas.py writes the file.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

type attribute struct {
	Type                         json.RawMessage
	Required, Optional, Computed bool
}

type nested struct {
	Block    block
	Min, Max int64
}

type block struct {
	Attributes map[string]attribute
	Blocks     map[string]nested
}

type schemas struct {
	Provider    block
	Resources   map[string]block
	DataSources map[string]block
}

func (b block) schema() (*tfprotov6.SchemaBlock, error) {
	result := &tfprotov6.SchemaBlock{}
	for name, attribute := range b.Attributes {
		kind, err := tftypes.ParseJSONType(attribute.Type)
		if err != nil {
			return nil, err
		}
		result.Attributes = append(result.Attributes, &tfprotov6.SchemaAttribute{
			Name: name, Type: kind,
			Required: attribute.Required, Optional: attribute.Optional, Computed: attribute.Computed,
		})
	}
	for name, nested := range b.Blocks {
		inner, err := nested.Block.schema()
		if err != nil {
			return nil, err
		}
		result.BlockTypes = append(result.BlockTypes, &tfprotov6.SchemaNestedBlock{
			TypeName: name, Block: inner, Nesting: tfprotov6.SchemaNestedBlockNestingModeList,
			MinItems: nested.Min, MaxItems: nested.Max,
		})
	}
	return result, nil
}

func all(blocks map[string]block) (map[string]*tfprotov6.Schema, error) {
	result := map[string]*tfprotov6.Schema{}
	for name, block := range blocks {
		schema, err := block.schema()
		if err != nil {
			return nil, err
		}
		result[name] = &tfprotov6.Schema{Block: schema}
	}
	return result, nil
}

// The methods that are not here would change resources. Nobody calls them: `validate` needs the ones below, and `test` replaces
// the provider by a mock.
type provider struct {
	tfprotov6.ProviderServer
	schemas schemas
}

func (p provider) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	settings, err := p.schemas.Provider.schema()
	if err != nil {
		return nil, err
	}
	resources, err := all(p.schemas.Resources)
	if err != nil {
		return nil, err
	}
	dataSources, err := all(p.schemas.DataSources)
	if err != nil {
		return nil, err
	}
	return &tfprotov6.GetProviderSchemaResponse{
		Provider: &tfprotov6.Schema{Block: settings}, ResourceSchemas: resources, DataSourceSchemas: dataSources,
	}, nil
}

func (provider) ValidateProviderConfig(_ context.Context, request *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (provider) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (provider) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

// Reads a state back that an earlier run of a test wrote.
func (p provider) UpgradeResourceState(_ context.Context, request *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	schema, err := p.schemas.Resources[request.TypeName].schema()
	if err != nil {
		return nil, err
	}
	kind := schema.ValueType()
	value, err := request.RawState.Unmarshal(kind)
	if err != nil {
		return nil, err
	}
	state, err := tfprotov6.NewDynamicValue(kind, value)
	if err != nil {
		return nil, err
	}
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &state}, nil
}

func (provider) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func main() {
	program, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(program), "schema.json"))
	if err != nil {
		log.Fatal(err)
	}
	var read schemas
	if err := json.Unmarshal(text, &read); err != nil {
		log.Fatal(err)
	}
	if err := tf6server.Serve("schema", func() tfprotov6.ProviderServer { return provider{schemas: read} }); err != nil {
		log.Fatal(err)
	}
}
