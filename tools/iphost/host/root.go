package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"gatehouse/tools/iphost/engage"
	"gatehouse/tools/iphost/registry"
)

// certPrefix begins the path of the certificate itself.
const certPrefix = "/engage/newCA/cert/"

// serveRoot hosts the root certificate over plain HTTP (section 4):
// /engage/newCA/current, or /engage/newCA/SITE/current where a stranger could
// be of several sites, and the DER file that its answer names.
func (h *Host) serveRoot(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		refuse(w, http.StatusMethodNotAllowed, "GET only")
		return
	}
	path := cleanPath(r.URL.Path)
	if name, ok := strings.CutPrefix(path, certPrefix); ok {
		h.rootFile(w, r, strings.TrimSuffix(name, ".der"))
		return
	}
	site, ok := rootSite(path)
	if !ok {
		refuse(w, http.StatusNotFound, "no such resource")
		return
	}
	h.rootHash(w, r, site)
}

// rootSite reads the site out of the path; empty: none was said.
func rootSite(path string) (site string, ok bool) {
	if path == engage.RootPath {
		return "", true
	}
	rest, ok := strings.CutPrefix(path, "/engage/newCA/")
	site, ok2 := strings.CutSuffix(rest, "/current")
	return site, ok && ok2 && registry.CheckName(site) == nil
}

func (h *Host) rootHash(w http.ResponseWriter, r *http.Request, name string) {
	serial, err := engage.ParseRootQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	site, err := h.reg.SiteOf(r.Context(), serial)
	if errors.Is(err, registry.ErrNotFound) && name != "" {
		site, err = h.reg.Site(r.Context(), name)
	}
	if err == nil && name != "" && site.Name != name {
		err = registry.ErrNotFound // it belongs to another site
	}
	root, err2 := h.reg.CurrentRoot(r.Context())
	switch err := errors.Join(err, err2); {
	case errors.Is(err, registry.ErrNotFound):
		h.cfg.Log.Warn("root certificate refused", "gateway", serial.String(), "peer", r.RemoteAddr, "err", err)
		refuse(w, http.StatusNotFound, "no site for this gateway: ask under /engage/newCA/SITE/current, or have it added")
		return
	case err != nil:
		h.cfg.Log.Error("root certificate", "err", err)
		refuse(w, http.StatusServiceUnavailable, "the registry does not answer")
		return
	}
	base := strings.TrimSuffix(h.cfg.CAURL, "/")
	if base == "" {
		base = "http://" + r.Host
	}
	writeJSON(w, struct {
		URL  string `json:"cert_url"`
		Hash string `json:"hash"`
	}{base + certPrefix + fingerprint(root.DER) + ".der", engage.RootHash(site.Key, root.DER)})
}

// rootFile answers with the DER file: with a length, never chunked.
func (h *Host) rootFile(w http.ResponseWriter, r *http.Request, name string) {
	root, err := h.reg.CurrentRoot(r.Context())
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		refuse(w, http.StatusServiceUnavailable, "the registry does not answer")
		return
	}
	if err != nil || name != fingerprint(root.DER) {
		refuse(w, http.StatusNotFound, "no such certificate")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(root.DER)))
	w.Write(root.DER) // a gateway that left asks again
}

// fingerprint names a certificate.
func fingerprint(der []byte) string {
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:8])
}
