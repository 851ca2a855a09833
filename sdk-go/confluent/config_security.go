package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
)

// tlsSettings say how connections are secured.
type tlsSettings struct {
	on       bool
	verify   bool
	hostname bool

	authorities, authoritiesPEM string
	certificate, certificatePEM string
	key, keyPEM                 string
}

// securityKeys are the settings of TLS.
func securityKeys() []configKey {
	text := func(name, doc string, at func(*tlsSettings) *string) configKey {
		return configKey{name: name, doc: doc,
			set: takesText(name, func(s *settings) *string { return at(&s.tls) })}
	}
	return []configKey{
		{name: "security.protocol", set: takesOne("security.protocol",
			map[string]bool{"plaintext": false, "ssl": true},
			func(s *settings, on bool) { s.tls.on = on }),
			doc: "plaintext or ssl (plaintext)"},
		text("ssl.ca.location", "a file or folder of the authorities that are trusted (the system's)",
			func(t *tlsSettings) *string { return &t.authorities }),
		text("ssl.ca.pem", "those authorities themselves",
			func(t *tlsSettings) *string { return &t.authoritiesPEM }),
		text("ssl.certificate.location", "the file of the client's certificate",
			func(t *tlsSettings) *string { return &t.certificate }),
		text("ssl.certificate.pem", "the certificate itself",
			func(t *tlsSettings) *string { return &t.certificatePEM }),
		text("ssl.key.location", "the file of its key, which is not encrypted",
			func(t *tlsSettings) *string { return &t.key }),
		text("ssl.key.pem", "the key itself", func(t *tlsSettings) *string { return &t.keyPEM }),
		{name: "enable.ssl.certificate.verification",
			set: takesBool("enable.ssl.certificate.verification",
				func(s *settings) *bool { return &s.tls.verify }),
			doc: "check the certificates of brokers (true)"},
		{name: "ssl.endpoint.identification.algorithm",
			set: takesOne("ssl.endpoint.identification.algorithm",
				map[string]bool{"https": true, "none": false},
				func(s *settings, check bool) { s.tls.hostname = check }),
			doc: "https or none: whether they must be for the broker's name (https)"},
	}
}

// validate refuses settings of TLS that would do nothing.
func (t *tlsSettings) validate() error {
	if t.on {
		_, err := t.config()
		return err
	}
	for _, given := range []struct{ name, value string }{
		{"ssl.ca.location", t.authorities}, {"ssl.ca.pem", t.authoritiesPEM},
		{"ssl.certificate.location", t.certificate}, {"ssl.certificate.pem", t.certificatePEM},
		{"ssl.key.location", t.key}, {"ssl.key.pem", t.keyPEM},
	} {
		if given.value != "" {
			return errorf(ErrInvalidArg, "%s needs security.protocol=ssl", given.name)
		}
	}
	return nil
}

// named is the setting of two that was given: a file, or what would be in it.
func named(name, file string) string {
	if file != "" {
		return name + ".location"
	}
	return name + ".pem"
}

// config is what the core is given.
func (t *tlsSettings) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	pool, err := t.pool()
	if err != nil {
		return nil, errorf(ErrSsl, "%s: %v", named("ssl.ca", t.authorities), err)
	}
	config.RootCAs = pool
	certificate, err := oneOf(t.certificate, t.certificatePEM)
	if err != nil {
		return nil, errorf(ErrSsl, "ssl.certificate.location: %v", err)
	}
	key, err := oneOf(t.key, t.keyPEM)
	if err != nil {
		return nil, errorf(ErrSsl, "ssl.key.location: %v", err)
	}
	if len(certificate)+len(key) > 0 {
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, errorf(ErrSsl, "%s and %s: %v", named("ssl.certificate", t.certificate),
				named("ssl.key", t.key), err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	switch {
	case !t.verify:
		config.InsecureSkipVerify = true
	case !t.hostname:
		// Everything is checked but the name: crypto/tls checks both or nothing by itself.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyChain(state, pool)
		}
	}
	return config, nil
}

func verifyChain(state tls.ConnectionState, pool *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the broker shows no certificate")
	}
	options := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool()}
	for _, between := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(between)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}

// pool has the authorities that are trusted; nil: the system's.
func (t *tlsSettings) pool() (*x509.CertPool, error) {
	if t.authorities == "" && t.authoritiesPEM == "" {
		return nil, nil
	}
	files := []string{t.authorities}
	if info, err := os.Stat(t.authorities); err == nil && info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(t.authorities, "*")); err != nil {
			return nil, err
		}
	}
	pem := []byte(t.authoritiesPEM)
	for _, file := range files {
		if file == "" {
			continue
		}
		more, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pem = append(append(pem, '\n'), more...)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate is there")
	}
	return pool, nil
}

// oneOf is what a file has, or what was given itself.
func oneOf(file, pem string) ([]byte, error) {
	if file != "" {
		return os.ReadFile(file)
	}
	return []byte(pem), nil
}
