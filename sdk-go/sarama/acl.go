package sarama

import (
	"fmt"
	"strings"
)

// There are no access control lists: these types stand for the methods of [ClusterAdmin] that name
// them, which return ErrUnsupportedVersion.
type (
	// AclOperation is what somebody may do.
	AclOperation int
	// AclPermissionType is whether he may.
	AclPermissionType int
	// AclResourceType is the kind of what he may do it to.
	AclResourceType int
	// AclResourcePatternType is how a resource's name is compared.
	AclResourcePatternType int
)

// Operations.
const (
	AclOperationUnknown AclOperation = iota
	AclOperationAny
	AclOperationAll
	AclOperationRead
	AclOperationWrite
	AclOperationCreate
	AclOperationDelete
	AclOperationAlter
	AclOperationDescribe
	AclOperationClusterAction
	AclOperationDescribeConfigs
	AclOperationAlterConfigs
	AclOperationIdempotentWrite
)

// Permissions.
const (
	AclPermissionUnknown AclPermissionType = iota
	AclPermissionAny
	AclPermissionDeny
	AclPermissionAllow
)

// Kinds of resources.
const (
	AclResourceUnknown AclResourceType = iota
	AclResourceAny
	AclResourceTopic
	AclResourceGroup
	AclResourceCluster
	AclResourceTransactionalID
	AclResourceDelegationToken
)

// Ways to compare names.
const (
	AclPatternUnknown AclResourcePatternType = iota
	AclPatternAny
	AclPatternMatch
	AclPatternLiteral
	AclPatternPrefixed
)

var (
	operationNames = []string{
		"Unknown", "Any", "All", "Read", "Write", "Create", "Delete", "Alter", "Describe",
		"ClusterAction", "DescribeConfigs", "AlterConfigs", "IdempotentWrite",
	}
	permissionNames = []string{"Unknown", "Any", "Deny", "Allow"}
	resourceNames   = []string{
		"Unknown", "Any", "Topic", "Group", "Cluster", "TransactionalID", "DelegationToken",
	}
	patternNames = []string{"Unknown", "Any", "Match", "Literal", "Prefixed"}
)

func nameOf[T ~int](names []string, value T) string {
	if value < 0 || int(value) >= len(names) {
		return names[0]
	}
	return names[value]
}

// setName reads a name, whatever its case; one that there is not is Unknown, and an error.
func setName[T ~int](value *T, names []string, what string, text []byte) error {
	for i, name := range names {
		if strings.EqualFold(name, string(text)) {
			*value = T(i)
			return nil
		}
	}
	*value = 0
	return fmt.Errorf("kafka: no %s has the name %q", what, text)
}

// String returns the name without AclOperation.
func (a *AclOperation) String() string { return nameOf(operationNames, *a) }

// MarshalText returns that name.
func (a *AclOperation) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads it, in any case.
func (a *AclOperation) UnmarshalText(text []byte) error {
	return setName(a, operationNames, "operation", text)
}

// String returns the name without AclPermission.
func (a *AclPermissionType) String() string { return nameOf(permissionNames, *a) }

// MarshalText returns that name.
func (a *AclPermissionType) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads it, in any case.
func (a *AclPermissionType) UnmarshalText(text []byte) error {
	return setName(a, permissionNames, "permission", text)
}

// String returns the name without AclResource.
func (a *AclResourceType) String() string { return nameOf(resourceNames, *a) }

// MarshalText returns that name.
func (a *AclResourceType) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads it, in any case.
func (a *AclResourceType) UnmarshalText(text []byte) error {
	return setName(a, resourceNames, "resource", text)
}

// String returns the name without AclPattern.
func (a *AclResourcePatternType) String() string { return nameOf(patternNames, *a) }

// MarshalText returns that name.
func (a *AclResourcePatternType) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads it, in any case.
func (a *AclResourcePatternType) UnmarshalText(text []byte) error {
	return setName(a, patternNames, "pattern", text)
}

// Resource is what an access control list is of.
type Resource struct {
	// ResourceType is its kind.
	ResourceType AclResourceType
	// ResourceName is its name, compared by ResourcePatternType.
	ResourceName        string
	ResourcePatternType AclResourcePatternType
}

// Acl says who may do what.
type Acl struct {
	// Principal is who, and Host where from.
	Principal string
	Host      string
	// Operation is what.
	Operation AclOperation
	// PermissionType is whether he may.
	PermissionType AclPermissionType
}

// ResourceAcls is a resource and its list.
type ResourceAcls struct {
	Resource
	// Acls is the list.
	Acls []*Acl
}

// AclFilter says which entries of lists are meant; nil stands for any.
type AclFilter struct {
	// Version is that of Kafka's message.
	Version int
	// ResourceType, ResourceName and ResourcePatternTypeFilter say of what.
	ResourceType              AclResourceType
	ResourceName              *string
	ResourcePatternTypeFilter AclResourcePatternType
	// Principal and Host say whose.
	Principal *string
	Host      *string
	// Operation and PermissionType say what.
	Operation      AclOperation
	PermissionType AclPermissionType
}

// MatchingAcl is an entry that was deleted.
type MatchingAcl struct {
	// Err is ErrNoError when it worked, and ErrMsg says more when it did not.
	Err    KError
	ErrMsg *string
	Resource
	Acl
}
