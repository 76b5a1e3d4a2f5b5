/** A machine that a build has for a while. */
class Agent {
    String name
    File workspace
    List<String> directories = [] // those of the step `dir`
    boolean lost = false

    File directory() {
        def found = directories.inject(workspace) { File at, String part -> new File(at, part) }
        found.mkdirs()
        return found
    }

    File file(String name) { name.startsWith('/') ? new File(name) : new File(directory(), name) }
}
