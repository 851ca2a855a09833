package sarama

// SASLMechanism names a way to authenticate. Brokers have no authentication yet: Validate refuses
// Net.SASL.Enable, and none of the types here is used. They are there so that programs compile
// which can be told to authenticate and are not.
type SASLMechanism string

const (
	// SASLTypeOAuth is by a token.
	SASLTypeOAuth = "OAUTHBEARER"
	// SASLTypePlaintext is by a name and a password.
	SASLTypePlaintext = "PLAIN"
	// SASLTypeSCRAMSHA256 is by a name and the proof that one knows a password.
	SASLTypeSCRAMSHA256 = "SCRAM-SHA-256"
	// SASLTypeSCRAMSHA512 is as SASLTypeSCRAMSHA256, with another hash.
	SASLTypeSCRAMSHA512 = "SCRAM-SHA-512"
	// SASLTypeGSSAPI is by Kerberos.
	SASLTypeGSSAPI = "GSSAPI"
	// SASLHandshakeV0 is Kafka's first handshake.
	SASLHandshakeV0 = int16(0)
	// SASLHandshakeV1 is the one that followed.
	SASLHandshakeV1 = int16(1)
	// SASLExtKeyAuth is a key that the extensions of a token must not use.
	SASLExtKeyAuth = "auth"
)

// AccessToken is what SASLTypeOAuth authenticates by.
type AccessToken struct {
	// Token is the token.
	Token string
	// Extensions are sent with it.
	Extensions map[string]string
}

// AccessTokenProvider gives the tokens of SASLTypeOAuth.
type AccessTokenProvider interface {
	// Token returns one that is valid at present, without waiting for long.
	Token() (*AccessToken, error)
}

// SCRAMClient is the program's side of an exchange of SASLTypeSCRAMSHA256 or SASLTypeSCRAMSHA512.
type SCRAMClient interface {
	// Begin prepares an exchange.
	Begin(userName, password, authzID string) error
	// Step answers a challenge.
	Step(challenge string) (response string, err error)
	// Done is whether the exchange is over.
	Done() bool
}

// What a GSSAPIConfig authenticates by, its AuthType.
const (
	// KRB5_USER_AUTH is by Username and Password.
	KRB5_USER_AUTH = 1
	// KRB5_KEYTAB_AUTH is by the keys at KeyTabPath.
	KRB5_KEYTAB_AUTH = 2
	// KRB5_CCACHE_AUTH is by the tickets at CCachePath.
	KRB5_CCACHE_AUTH = 3
)

// GSSAPIConfig holds settings of Kerberos.
type GSSAPIConfig struct {
	AuthType           int
	KeyTabPath         string
	CCachePath         string
	KerberosConfigPath string
	ServiceName        string
	Username           string
	Password           string
	Realm              string
	DisablePAFXFAST    bool
	BuildSpn           BuildSpnFunc
}

// BuildSpnFunc makes the name that Kerberos knows a service by.
type BuildSpnFunc func(serviceName, host string) string
