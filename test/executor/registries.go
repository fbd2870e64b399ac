package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/sirupsen/logrus"
)

// registries pulls and pushes, with the certificates, mirrors and plain HTTP that the flags allow. Credentials are those of
// $DOCKER_CONFIG/config.json.
type registries struct {
	o          *options
	pulled     map[string]v1.Image
	transports map[string]http.RoundTripper
	mu         sync.Mutex // of transports: layers are stored in the cache beside the steps
}

func newRegistries(o *options) *registries {
	return &registries{o: o, pulled: map[string]v1.Image{}, transports: map[string]http.RoundTripper{}}
}

func valueOf(pairs []string, key string) string {
	for _, pair := range pairs {
		if k, value, _ := strings.Cut(pair, "="); k == key {
			return value
		}
	}
	return ""
}

func (r *registries) transport(registry string, skipVerify bool) (http.RoundTripper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := fmt.Sprint(registry, skipVerify)
	if found := r.transports[key]; found != nil {
		return found, nil
	}
	tr := remote.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig = &tls.Config{}
	if skipVerify || slices.Contains(r.o.skipTLSVerifyRegistries, registry) {
		tr.TLSClientConfig.InsecureSkipVerify = true
	} else if path := valueOf(r.o.registryCertificates, registry); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("failed to load certificate %s for %s: %w", path, registry, err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pool.AppendCertsFromPEM(pem)
		tr.TLSClientConfig.RootCAs = pool
	}
	if pair := valueOf(r.o.registryClientCerts, registry); pair != "" {
		cert, key, found := strings.Cut(pair, ",")
		if !found {
			return nil, fmt.Errorf("failed to load client certificate/key '%s=%s', expected format: %s=/path/to/cert,/path/to/key", registry, pair, registry)
		}
		loaded, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("failed to load client certificate/key '%s' for %s: %w", pair, registry, err)
		}
		tr.TLSClientConfig.Certificates = []tls.Certificate{loaded}
	}
	r.transports[key] = tr
	return tr, nil
}

// tag reads a destination; plain HTTP where the flags allow it for its registry.
func (r *registries) tag(destination string) (name.Tag, error) {
	ref, err := name.NewTag(destination, name.WeakValidation)
	if err != nil {
		return ref, err
	}
	if r.o.insecure || slices.Contains(r.o.insecureRegistries, ref.RegistryStr()) {
		return name.NewTag(destination, name.WeakValidation, name.Insecure)
	}
	return ref, nil
}

func (r *registries) checkPushPermissions() error {
	targets := r.o.destinations
	if r.o.noPush {
		targets = nil
		if r.o.cache && !r.o.noPushCache {
			targets = []string{r.o.cacheRepo}
		}
	}
	if r.o.skipPushPermissionCheck {
		return nil
	}
	checked := map[string]bool{}
	for _, destination := range targets {
		ref, err := r.tag(destination)
		if err != nil {
			return fmt.Errorf("getting tag for destination: %w", err)
		}
		if checked[ref.Context().Name()] {
			continue
		}
		tr, err := r.transport(ref.RegistryStr(), r.o.skipTLSVerify)
		if err != nil {
			return fmt.Errorf("making transport for registry %q: %w", ref.RegistryStr(), err)
		}
		if err := remote.CheckPushPermission(ref, authn.DefaultKeychain, transport.NewRetry(tr)); err != nil {
			return fmt.Errorf("checking push permission for %q: %w", ref, err)
		}
		checked[ref.Context().Name()] = true
	}
	return nil
}

// pull reads the manifest of an image, from the mirrors of Docker Hub first where it is one of its images. Layers are read later.
func (r *registries) pull(image string) (v1.Image, error) {
	logrus.Infof("Retrieving image manifest %s", image)
	if found := r.pulled[image]; found != nil {
		logrus.Info("Returning cached image manifest")
		return found, nil
	}
	ref, err := name.ParseReference(image, name.WeakValidation)
	if err != nil {
		return nil, err
	}
	if mirrors := r.o.registryMirrors; ref.Context().RegistryStr() == name.DefaultRegistry && len(mirrors) > 0 {
		for _, mirror := range mirrors {
			host, prefix, _ := strings.Cut(mirror, "/")
			mirrored := filepath.Join(host, prefix, ref.Context().RepositoryStr()) + separator(ref) + ref.Identifier()
			logrus.Infof("Retrieving image %s from mapped registry %s", mirrored, host)
			img, err := r.fetch(mirrored)
			if err == nil {
				r.pulled[image] = img
				return img, nil
			}
			logrus.Warnf("Failed to retrieve image %s from remapped registry %s: %s. Will try with the next registry, or fallback to the original registry.", mirrored, host, err)
		}
		if r.o.skipDefaultRegistryFallback {
			return nil, fmt.Errorf("image not found on any configured mapped registries for %s", ref)
		}
	}
	logrus.Infof("Retrieving image %s from registry %s", ref, ref.Context().RegistryStr())
	img, err := r.fetch(image)
	if err == nil {
		r.pulled[image] = img
	}
	return img, err
}

func separator(ref name.Reference) string {
	if _, isDigest := ref.(name.Digest); isDigest {
		return "@"
	}
	return ":"
}

func (r *registries) fetch(image string) (v1.Image, error) {
	ref, err := name.ParseReference(image, name.WeakValidation)
	if err != nil {
		return nil, err
	}
	registry := ref.Context().RegistryStr()
	if r.o.insecurePull || slices.Contains(r.o.insecureRegistries, registry) {
		if ref, err = name.ParseReference(image, name.WeakValidation, name.Insecure); err != nil {
			return nil, err
		}
	}
	tr, err := r.transport(registry, r.o.skipTLSVerifyPull)
	if err != nil {
		return nil, err
	}
	platform, err := v1.ParsePlatform(r.o.customPlatform)
	if err != nil {
		return nil, err
	}
	var img v1.Image
	err = retry(r.o.imageDownloadRetry, func() (err error) {
		img, err = remote.Image(ref, remote.WithTransport(tr), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(*platform))
		return err
	})
	if err != nil && r.o.imageDownloadRetry > 0 {
		return nil, fmt.Errorf("unable to complete operation after %d attempts, last error: %w", r.o.imageDownloadRetry, err)
	}
	return img, err
}

// push writes the digest file first and then pushes, in this order, as Kaniko does.
func (r *registries) push(image v1.Image) error {
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("error fetching digest: %w", err)
	}
	if err := writeFile(r.o.digestFile, digest.String()); err != nil {
		return fmt.Errorf("writing digest to file failed: %w", err)
	}
	var names strings.Builder
	var refs []name.Tag
	for _, destination := range r.o.destinations {
		ref, err := r.tag(destination)
		if err != nil {
			return fmt.Errorf("getting tag for destination: %w", err)
		}
		refs = append(refs, ref)
		fmt.Fprintf(&names, "%s@%s\n", ref.Repository.Name(), digest)
	}
	if err := writeFile(r.o.imageNameDigestFile, names.String()); err != nil {
		return fmt.Errorf("writing image name with digest to file failed: %w", err)
	}
	if r.o.noPush {
		logrus.Info("Skipping push to container registry due to --no-push flag")
		return nil
	}
	for _, ref := range refs {
		if err := r.write(ref, image); err != nil {
			return err
		}
	}
	return nil
}

func (r *registries) write(ref name.Tag, image v1.Image) error {
	logrus.Infof("Pushing image to %s", ref)
	tr, err := r.transport(ref.RegistryStr(), r.o.skipTLSVerify)
	if err != nil {
		return fmt.Errorf("making transport for registry %q: %w", ref.RegistryStr(), err)
	}
	err = retry(r.o.pushRetry, func() error {
		return remote.Write(ref, image, remote.WithTransport(transport.NewRetry(tr)), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	})
	if err != nil {
		return fmt.Errorf("failed to push to destination %s: %w", ref, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	logrus.Infof("Pushed %s", ref.Context().Digest(digest.String()))
	return nil
}

func writeFile(path, content string) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// retry waits 1, 2, 4 … seconds between attempts.
func retry(times int, attempt func() error) error {
	err := attempt()
	for i := 0; err != nil && i < times; i++ {
		wait := time.Second << i
		logrus.Warnf("Retrying operation after %s due to %v", wait, err)
		time.Sleep(wait)
		err = attempt()
	}
	return err
}
