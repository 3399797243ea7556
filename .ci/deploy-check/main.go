// Deploy-check reads a compose file as `docker compose` does and its Dockerfiles
// as `docker build --check` does, without an engine: with the same parsers,
// schema, interpolation and rules. It prints what the compose file means as
// JSON, which the tests hold against the configuration files (runtime/dabi/tests/it/deploy.rs).
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	digest "github.com/opencontainers/go-digest"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deploy-check COMPOSE_FILE")
		os.Exit(2)
	}
	if err := check(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(ctx context.Context, file string) error {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithDefaultProfiles("*"))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return err
	}
	for name, service := range project.Services {
		if service.Build == nil {
			continue
		}
		if err := lint(ctx, service.Build); err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
	}
	resolved, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(resolved)
	return err
}

// Lint refuses what `docker build --check` warns of.
func lint(ctx context.Context, build *types.BuildConfig) error {
	path := build.Dockerfile
	if !filepath.IsAbs(path) {
		path = filepath.Join(build.Context, path)
	}
	dockerfile, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	source := llb.NewSourceMap(nil, path, "Dockerfile", dockerfile)
	source.Definition = &llb.Definition{}
	found, err := dockerfile2llb.DockerfileLint(ctx, dockerfile, dockerfile2llb.ConvertOpt{
		SourceMap:    source,
		MetaResolver: offline{},
	})
	if err != nil {
		return err
	}
	if found.Error != nil {
		return fmt.Errorf("%s: %s", path, found.Error.Message)
	}
	if len(found.Warnings) == 0 {
		return nil
	}
	var warnings bytes.Buffer
	if err := found.PrintTo(&warnings, nil); err != nil {
		return err
	}
	return fmt.Errorf("%s: %s", path, warnings.String())
}

// Offline takes every base image as it is named: nothing is asked of a registry,
// so that an image does not exist is not found out here.
type offline struct{}

func (offline) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config := []byte(`{"architecture":"amd64","os":"linux"}`)
	return ref, digest.FromBytes(config), config, nil
}
