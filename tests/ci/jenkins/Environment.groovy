/** The variable `env`. */
class Environment implements Serializable {
    private static final long serialVersionUID = 1

    Object getProperty(String name) { Build.variable(name) }

    @Override
    void setProperty(String name, Object value) { Build.environments.add([name + '=' + value]) }
}
